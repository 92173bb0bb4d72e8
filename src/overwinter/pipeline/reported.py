"""Programs of the pipeline whose end is reported to `overwinter run`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from overwinter.pipeline.events import emit
from overwinter.programs import debug_traceback, explained, guarded


def run_program(name: str, program: Callable[[], int]) -> NoReturn:
    """Run a program of the pipeline, report its end to `overwinter run`, and end the process."""

    def reporting() -> int:
        try:
            code = program()
        except BaseException as error:
            message, code = explained(error)
            emit("end", name, exit_code=code, message=message, traceback=debug_traceback())
            raise
        emit("end", name, exit_code=code, message="")
        return code

    code = guarded(reporting)
    sys.stdout.flush()
    sys.exit(code)
