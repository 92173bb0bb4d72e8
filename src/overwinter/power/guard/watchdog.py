"""A small program that outlives the run and puts its limits back when it is killed.

    python -I -S watchdog.py PID IDENTITY SLOT_FOLDER...

The guard starts it before the first change. It makes itself independent of the run (a session of its own, no
child of it, so that what kills the run and its children leaves it), says ``ready`` on standard output, and
waits for one of two things: the byte ``q`` on standard input (the run has put everything back), or the end of
the run, whereupon it restores every slot that no one else holds, and ends. Standard library only, and little
of it.
"""

# ruff: noqa: PTH100, PTH120, PTH123 -- pathlib doubles its start

from __future__ import annotations

import os
import select
import signal
import sys
import time

_RETRY_S = 0.2
_PATIENCE_S = 30.0


def main(arguments: list[str]) -> int:
    """Watch over the process; return when it, or its need for this, has ended."""
    pid, identity, folders = int(arguments[0]), arguments[1], arguments[2:]
    if os.fork():
        return 0
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        watched = -1  # gone already: nothing can have been changed yet, and restoring finds nothing to do
    except OSError:
        return 1  # a kernel before 5.3
    _report_ready()
    if watched >= 0 and _let_go(watched):
        return 0
    return _restore_all(identity, folders)


def _report_ready() -> None:
    with open(os.devnull, "r+b", buffering=0) as null:
        os.write(1, b"ready\n")
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    os.chdir("/")


def _let_go(watched: int) -> bool:
    """Wait; True if the run says that it needs no watching any more, False if it ended without saying so."""
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        for handle, _ in poll.poll():
            if handle == 0:
                if os.read(0, 1) == b"q":
                    return True
                poll.unregister(0)  # closed without a word: the end of the run will tell
            else:
                # Both may have come at once.
                ready, _, _ = select.select([0], [], [], 0)
                return bool(ready) and os.read(0, 1) == b"q"


def _restore_all(identity: str, folders: list[str]) -> int:
    # Beside this file, and last in the path: nothing here may stand before the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import journal  # type: ignore[import-not-found]
    import restore_commands  # type: ignore[import-not-found]

    left, deadline_s = list(folders), time.monotonic() + _PATIENCE_S
    while left and time.monotonic() < deadline_s:
        left = [folder for folder in left if not _restored(journal, restore_commands, identity, folder)]
        if left:
            time.sleep(_RETRY_S)
    return 1 if left else 0


def _restored(journal: object, commands: object, identity: str, folder: str) -> bool:
    slot = journal.Slot(folder)  # type: ignore[attr-defined]
    try:
        with slot.mutex():
            slot.leave(identity)
            if not slot.living():
                slot.restore(commands.perform)  # type: ignore[attr-defined]
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
