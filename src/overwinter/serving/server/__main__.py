"""``python -m overwinter.serving.server FD``: the supervisor, with its plan in an open file."""

from __future__ import annotations

import asyncio
import os
import sys

from overwinter.programs import guarded
from overwinter.serving.server.plan import parse_plan
from overwinter.serving.server.supervisor import serve


def _main() -> int:
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as stream:
        plan = parse_plan(stream.read())
    asyncio.run(serve(plan))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(_main))
