"""The process of an execution, and the check whether it is alive.

A process id alone is not unique: it is reused, differs between containers, and restarts with the machine. So an
execution also records the start time of its process, the machine's boot id and the pid namespace.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

_PROC = Path("/proc")
# Fields of /proc/PID/stat after the command's name in parentheses (proc(5)): state is the first, starttime the 20th.
_STATE, _START_TIME = 0, 19


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """The unique identity of a process.

    Attributes:
        pid: The process id within `pid_namespace`.
        process_start: The start time, in clock ticks since the machine's boot.
        boot_id: The boot id of the machine.
        pid_namespace: The pid namespace, such as ``pid:[4026531836]``.
        host: The machine's name.
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
    """Return whether ``process`` is alive, as seen by ``observer`` (the calling process).

    Returns:
        True or False if it is visible; None on another machine or in another container. A zombie is dead.
    """
    if process.boot_id != observer.boot_id:
        # Most likely the same machine after a restart. On another machine of this name, the next heartbeat reopens it.
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
    # The name may contain blanks and parentheses, so the fields start after the last one.
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
