"""Reading of /proc: few system calls per reading, and no exception for a process that has ended."""

from __future__ import annotations

import functools
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = "/proc"
_SIGCHLD_BIT = 1 << 16
_FEW_THREADS = 8
_RELEASE_S, _RELEASE_LOOKS = 0.001, 500  # takes microseconds, longer where the parent is preempted in between
_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Stat:
    """The CPU time account of one process.

    Attributes:
        ppid: The parent's process id.
        start_ticks: The start time; a reused id has another one.
        own_s: CPU seconds of its own threads, running and finished.
        waited_s: CPU seconds of the children it has waited for, including those they had waited for.
        ended: Whether it is a zombie; its children have another parent.
    """

    ppid: int
    start_ticks: int
    own_s: float
    waited_s: float
    ended: bool = False

    @property
    def cpu_s(self) -> float:
        """Seconds added to its parent's account when it is waited for."""
        return self.own_s + self.waited_s


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU time of the whole machine since its start, of all CPUs together.

    Attributes:
        busy_s: Seconds for processes and the kernel, without time stolen by a virtual machine's host.
        idle_s: Seconds idle or waiting for disks.
    """

    busy_s: float
    idle_s: float


def cpu_times() -> CpuTimes | None:
    """Return the machine's CPU time; None if it is not reported."""
    words = _bytes("stat").partition(b"\n")[0].split()
    if len(words) < 8 or words[0] != b"cpu" or not all(word.isdigit() for word in words[1:8]):
        return None
    user, nice, system, idle, waiting, interrupts, soft_interrupts = (int(word) * _TICK_S for word in words[1:8])
    return CpuTimes(busy_s=user + nice + system + interrupts + soft_interrupts, idle_s=idle + waiting)


def is_ours() -> bool:
    """Return whether /proc exists and belongs to this process's pid namespace."""
    try:
        return Path(_PROC, "self").readlink().name == str(os.getpid())
    except OSError:
        return False


def pids() -> set[int]:
    """Return the ids of all visible processes."""
    try:
        names = os.listdir(_PROC)
    except OSError:
        return set()
    return {int(name) for name in names if name.isdecimal()}


def newest_pid() -> int | None:
    """Return the last id given to a process or a thread; while it stays the same, none has started."""
    try:
        last = os.pread(_kept_open(f"{_PROC}/loadavg"), _MAX_BYTES, 0).rpartition(b" ")[2].strip()
    except OSError:
        return None
    return int(last) if last.isdigit() else None


def stat(pid: int, *, exact: bool = False) -> Stat | None:
    """Return a process's account; None if it has ended.

    Args:
        pid: The process id.
        exact: Whether to read with a finer resolution than the hundredths of a second of /proc/PID/stat, if it has few
            threads.
    """
    fields = _stat_fields(pid)
    if len(fields) < 20:
        return None
    own_s = (int(fields[11]) + int(fields[12])) * _TICK_S
    if exact and int(fields[17]) <= _FEW_THREADS:
        own_s = max(own_s, _scheduled_s(pid, threads=int(fields[17])))
    waited_s = (int(fields[13]) + int(fields[14])) * _TICK_S
    return Stat(
        ppid=int(fields[1]), start_ticks=int(fields[19]), own_s=own_s, waited_s=waited_s, ended=fields[0] == b"Z"
    )


def _stat_fields(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on; few or none for a process that has ended.

    If the kernel is releasing the process, wait until it is gone: its parent's account may already include its time,
    and it seems to have no parent.
    """
    for _ in range(_RELEASE_LOOKS):
        content = _bytes(f"{pid}/stat")
        fields = content[content.rfind(b")") + 2 :].split(b" ", 20)  # a process's name may hold brackets and blanks
        if len(fields) < 20 or not _is_being_released(fields):
            return fields
        time.sleep(_RELEASE_S)
    return []


def _is_being_released(fields: list[bytes]) -> bool:
    state, threads = fields[0], fields[17]
    return state == b"X" or threads == b"0"


def is_there(pid: int) -> bool:
    """Return whether a process is alive, even if its account cannot be read (another user's, `hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Status:
    """Fields of /proc/PID/status.

    Attributes:
        leads: Whether the id is a process's, not that of another thread.
        forgets_children: Whether it ignores SIGCHLD, so that its children's times are added to no account.
    """

    leads: bool
    forgets_children: bool


def status(pid: int) -> Status:
    """Return the fields of /proc/PID/status, with defaults for a process that has ended."""
    content = _bytes(f"{pid}/status")
    group = re.search(rb"^Tgid:\t(\d+)", content, re.MULTILINE)
    ignored = re.search(rb"^SigIgn:\t([0-9a-f]+)", content, re.MULTILINE)
    return Status(
        leads=group is None or int(group[1]) == pid,
        forgets_children=ignored is not None and bool(int(ignored[1], 16) & _SIGCHLD_BIT),
    )


def carries(pid: int, mark: str) -> bool:
    """Return whether ``mark`` is in the initial environment of a process."""
    return mark.encode() in _bytes(f"{pid}/environ")


def memory_bytes(pid: int) -> tuple[int, int]:
    """Return (resident, shared) bytes; zeros for a process that has ended."""
    fields = _bytes(f"{pid}/statm").split()
    return (int(fields[1]) * _PAGE_BYTES, int(fields[2]) * _PAGE_BYTES) if len(fields) > 2 else (0, 0)


def used_memory_bytes() -> float:
    """Return the memory in use on the whole machine; infinity if not reported."""
    content = _bytes("meminfo")
    total = re.search(rb"^MemTotal:\s+(\d+) kB", content, re.MULTILINE)
    free = re.search(rb"^MemFree:\s+(\d+) kB", content, re.MULTILINE)
    return (int(total[1]) - int(free[1])) * 1024 if total and free else math.inf


def since_boot_s(start_ticks: int) -> float:
    """Return the start time of a process, in seconds since the machine's boot."""
    return start_ticks * _TICK_S


def _scheduled_s(pid: int, *, threads: int) -> float:
    """Return the CPU time of the running threads by the scheduler's clock; 0 if the kernel has none."""
    if threads == 1:
        return _ran_s(f"{pid}/schedstat")
    try:
        return sum(_ran_s(f"{pid}/task/{thread}/schedstat") for thread in os.listdir(f"{_PROC}/{pid}/task"))
    except OSError:
        return 0.0


def _ran_s(name: str) -> float:
    first = _bytes(name).partition(b" ")[0]
    return int(first) / 1e9 if first.isdigit() else 0.0


@functools.cache
def _kept_open(path: str) -> int:
    """Return a cached descriptor of a file that is read often, since opening takes longer than reading."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _bytes(name: str) -> bytes:
    try:
        handle = os.open(f"{_PROC}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, _MAX_BYTES)
    except OSError:
        return b""
    finally:
        os.close(handle)
