"""Free memory of this machine and of the control groups of this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_MACHINE, _OWN_GROUP, _GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_CACHED = ("active_file", "inactive_file")  # page cache can be reclaimed


def available_bytes() -> int:
    """Return the memory that this process may still allocate: the least of the machine's and its control groups'."""
    return min([*_left_to_machine(), *_left_to_groups()], default=0)


def _left_to_machine() -> Iterator[int]:
    for line in _lines(_MACHINE):
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _left_to_groups() -> Iterator[int]:
    """Yield the memory that each group has left below its limit, from our own up (version 2 only)."""
    for own in (line.removeprefix("0::") for line in _lines(_OWN_GROUP) if line.startswith("0::")):
        group = _GROUPS / own.lstrip("/")
        for folder in [group, *group.parents]:
            if folder.is_relative_to(_GROUPS):
                yield from _left_to(folder)


def _left_to(group: Path) -> Iterator[int]:
    try:
        limit, used = _lines(group / "memory.max")[0], int(_lines(group / "memory.current")[0])
    except (IndexError, ValueError):
        return
    if limit.isdecimal():
        stated = dict(line.split() for line in _lines(group / "memory.stat"))
        yield max(0, int(limit) - used + sum(int(stated.get(name, 0)) for name in _CACHED))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
