"""Error handling of every program: an error becomes a message on standard error and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable

from overwinter.errors import EXIT_DONE, EXIT_FAILED, OverwinterError
from overwinter.files import write_error

EXIT_INTERRUPTED = 130
_PASSWORD = re.compile(r"(?<=://)([^/\s@:]*:)[^/\s@]+(?=@)")  # of scheme://user:password@host
_READ_ERRORS = (errno.EACCES, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM)


def guarded(program: Callable[[], int]) -> int:
    """Run ``program`` and return its exit code; print an error to standard error.

    A traceback is shown only with `--debug` or ``OVERWINTER_DEBUG=1``.
    """
    try:
        return program()
    except BrokenPipeError:
        _silence_output()  # the reader closed the pipe, as `| head` does
        return EXIT_FAILED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- the edge: a message, not a traceback
        message, exit_code = explained(error)
        if exit_code == EXIT_DONE:
            return exit_code
        sys.stderr.write(debug_traceback())
        print(f"overwinter: {message}", file=sys.stderr, flush=True)
        return exit_code


def explained(error: BaseException) -> tuple[str, int]:
    """Return the message, without passwords of addresses that it quotes, and the exit code for an exception."""
    message, exit_code = _explained(error)
    return _PASSWORD.sub(r"\1***", message), exit_code


def _explained(error: BaseException) -> tuple[str, int]:
    if isinstance(error, OverwinterError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted", EXIT_INTERRUPTED
    if isinstance(error, OSError) and error.filename:
        known = error.errno in _READ_ERRORS
        message = f"{error.filename}: {error.strerror}. Check the path and its permissions." if known else None
        return message or str(write_error(error.filename, error)), EXIT_FAILED
    hint = "" if os.environ.get("OVERWINTER_DEBUG") else "\nRun it again with OVERWINTER_DEBUG=1 for the traceback."
    return f"unexpected {type(error).__name__}: {error}{hint}", EXIT_FAILED


def debug_traceback() -> str:
    """Return the current error's traceback if OVERWINTER_DEBUG is set, else an empty string."""
    return traceback.format_exc() if os.environ.get("OVERWINTER_DEBUG") else ""


def _silence_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
