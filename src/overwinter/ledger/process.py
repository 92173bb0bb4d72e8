"""Which process an execution belongs to, and whether it still lives.

A process id alone is not enough: it is used again after a while, means something else in another container,
and starts anew with the machine. So an execution also keeps when its process began, the machine's boot id and
the pid namespace.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

_PROC = Path("/proc")
# Fields of /proc/PID/stat after the command's name in parentheses (proc(5)): state is the first, starttime
# the 20th.
_STATE, _START_TIME = 0, 19


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process, distinguished from every other one, ever.

    Attributes:
        pid: its id within `pid_namespace`.
        process_start: when it began, in clock ticks since the machine's start.
        boot_id: of the machine's start.
        pid_namespace: for instance ``pid:[4026531836]``.
        host: the machine's name.
    """

    pid: int
    process_start: int
    boot_id: str
    pid_namespace: str
    host: str

    def to_row(self) -> dict[str, int | str]:
        """Return the fields as columns of the ledger."""
        return asdict(self)


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process."""
    pid = os.getpid()
    stat = _stat(pid)
    return ProcessIdentity(
        pid=pid,
        process_start=int(stat[_START_TIME]) if stat else 0,
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        host=platform.node(),
    )


def is_alive(process: ProcessIdentity, *, observer: ProcessIdentity) -> bool | None:
    """Return whether ``process`` still runs, as far as ``observer`` (the calling process) can know.

    Returns:
        True or False where it can be seen; None on another machine or in another container. A zombie is dead.
    """
    if process.boot_id != observer.boot_id:
        # Most likely the same machine after a restart. A namesake's execution reopens itself at its next
        # heartbeat.
        return False if process.host == observer.host else None
    if process.pid_namespace != observer.pid_namespace:
        return None
    stat = _stat(process.pid)
    return stat is not None and int(stat[_START_TIME]) == process.process_start and stat[_STATE] not in ("Z", "X")


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name may itself contain blanks and parentheses: what counts begins after the last one.
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _pid_namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return "unknown"
