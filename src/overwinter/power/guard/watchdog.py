"""A small program that outlives the run and restores its limits when it is killed.

    python -I -S watchdog.py PID IDENTITY SLOT_FOLDER...

The guard starts it before the first change. It detaches from the run (a new session, not a child, so that killing the
run and its children does not kill it), writes ``ready`` to standard output, and waits for one of two events: the
byte ``q`` on standard input (the run has restored everything), or the end of the run. In the second case it restores
every slot that no other run holds, and exits. It uses little of the standard library and nothing else.
"""

# ruff: noqa: PTH100, PTH120, PTH123 -- pathlib doubles its start time

from __future__ import annotations

import os
import select
import signal
import sys
import time

_RETRY_S = 0.2
_TIMEOUT_S = 30.0


def main(arguments: list[str]) -> int:
    """Watch the process, and restore its limits unless it dismisses the watchdog."""
    pid, identity, folders = int(arguments[0]), arguments[1], arguments[2:]
    if os.fork():
        return 0
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        watched = -1  # the process has ended: nothing was changed yet, so there is nothing to restore
    except OSError:
        return 1  # a kernel before 5.3
    _report_ready()
    if watched >= 0 and _dismissed(watched):
        return 0
    return _restore_all(identity, folders)


def _report_ready() -> None:
    with open(os.devnull, "r+b", buffering=0) as null:
        os.write(1, b"ready\n")
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    os.chdir("/")


def _dismissed(watched: int) -> bool:
    """Wait, and return True if the run dismisses the watchdog, False if it ends without that."""
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        for handle, _ in poll.poll():
            if handle == 0:
                if os.read(0, 1) == b"q":
                    return True
                poll.unregister(0)  # closed without a byte: wait for the end of the run
            else:
                # Both events may have happened.
                ready, _, _ = select.select([0], [], [], 0)
                return bool(ready) and os.read(0, 1) == b"q"


def _restore_all(identity: str, folders: list[str]) -> int:
    # The modules next to this file come last in the path, so that none shadows the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import journal  # type: ignore[import-not-found]
    import restore_commands  # type: ignore[import-not-found]

    left, deadline_s = list(folders), time.monotonic() + _TIMEOUT_S
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
