"""A temporary control group, in which the kernel counts the CPU time of all its processes, running or finished.

It is created inside the control group of this process, so all limits still apply, and only where it has no effect
other than counting: in version 1's `cpuacct` mounted by itself, or in version 2 without any controller. At the end,
its processes are moved back and it is removed; groups left by a killed meter are removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

_PREFIX = "overwinter-"
_ROUNDS = 5  # of moving processes, which may fork meanwhile
_OWN_CGROUP = Path("/proc/self/cgroup")
_OWN_MOUNTS = Path("/proc/self/mountinfo")


class ControlGroup:
    """A group that contains this process and its children, from `enter` to `leave`.

    Args:
        parent: The folder of this process's current group.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = parent / f"{_PREFIX}{os.getpid()}"
        self._lock = -1

    def enter(self, others: Iterable[int] = ()) -> None:
        """Create the group and move this process, and ``others`` from the same group, into it.

        Raises:
            OSError: not allowed, a read-only mount, too many groups, ...
        """
        _collect(self._parent)
        self._folder.mkdir()
        try:
            self._lock = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # for as long as this process lives
            self.cpu_s()
            _move([os.getpid()], self._folder)
        except OSError:
            self.leave()
            raise
        siblings = set(_processes(self._parent))
        with contextlib.suppress(OSError):
            _move((pid for pid in others if pid in siblings), self._folder)

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far by all current and former processes of the group.

        Raises:
            OSError: the group was removed.
        """
        version_1 = self._folder / "cpuacct.usage"
        if version_1.exists():
            return int(version_1.read_text()) / 1e9
        used = (self._folder / "cpu.stat").read_text().split()
        return int(used[used.index("usage_usec") + 1]) / 1e6

    def processes(self) -> list[int]:
        """Return the ids of the processes in the group; empty after it was removed."""
        with contextlib.suppress(OSError):
            return _processes(self._folder)
        return []

    def leave(self) -> None:
        """Move all processes back, and remove the group. Never raises."""
        _dissolve(self._folder)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class SharedGroup:
    """The group of this process, shared by all its meters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group: ControlGroup | None = None
        self._users = self._pid = 0

    def enter(self, others: Iterable[int]) -> ControlGroup | None:
        """Return the group, with this process in it; None if it cannot be created."""
        with self._lock:
            if self._pid != os.getpid():  # a fork is in its parent's group, but not its user
                self._group, self._users, self._pid = None, 0, os.getpid()
            if self._group is None:
                self._group = _entered(others)
            self._users += self._group is not None
            return self._group

    def leave(self) -> None:
        """Release the group for one meter; the last one removes it."""
        with self._lock:
            if self._pid != os.getpid() or self._group is None:
                return
            self._users -= 1
            if not self._users:
                self._group.leave()
                self._group = None


SHARED = SharedGroup()


def _entered(others: Iterable[int]) -> ControlGroup | None:
    own = list(others)
    for parent in places(_read(_OWN_CGROUP), _read(_OWN_MOUNTS)):
        group = ControlGroup(parent)
        with contextlib.suppress(OSError, ValueError):
            group.enter(own)
            return group
    return None


def places(memberships: str, mounts: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups in which a new group has no effect other than counting.

    Args:
        memberships: The content of /proc/self/cgroup.
        mounts: The content of /proc/self/mountinfo.
    """
    paths = {}
    for line in memberships.splitlines():
        number, controllers, path = line.split(":", 2)
        paths["cgroup2" if number == "0" and not controllers else controllers] = path
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, folder = (_unescaped(each) for each in before.split(" ")[3:5])
        system = after.split(" ")[0]
        if system == "cgroup" and "cpuacct" in paths and "cpuacct" in after.split(" ")[2].split(","):
            yield from _within(Path(folder), root, paths["cpuacct"])
        elif system == "cgroup2" and "cgroup2" in paths:
            yield from (place for place in _within(Path(folder), root, paths["cgroup2"]) if _only_counts(place))


def _within(folder: Path, root: str, path: str) -> Iterator[Path]:
    """Yield the group's folder under a mount of the hierarchy below ``root``."""
    if path == root or path.startswith(root.rstrip("/") + "/"):
        place = folder / path[len(root) :].lstrip("/")
        if ".." not in place.parts and place.is_dir():
            yield place


def _only_counts(place: Path) -> bool:
    """Return whether a group inside this one of version 2 would have no controller and hide no limit.

    Runtimes such as Java read limits only from their own group.
    """
    return (
        not _read(place / "cgroup.subtree_control").strip()
        and _read(place / "cgroup.type").strip() in ("", "domain")
        and _read(place / "cpu.max").partition(" ")[0].strip() in ("", "max")
        and _read(place / "memory.max").strip() in ("", "max")
    )


def _collect(parent: Path) -> None:
    """Remove the groups of killed meters, whose locks are free."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _dissolve(folder)
            finally:
                os.close(handle)


def _dissolve(folder: Path) -> None:
    """Move a group's processes to its parent, and remove it unless it contains another group."""
    _collect(folder)
    for _ in range(_ROUNDS):
        with contextlib.suppress(OSError):
            _move(_processes(folder), folder.parent)
            folder.rmdir()
        if not folder.exists():
            return


def _move(pids: Iterable[int], folder: Path) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            (folder / "cgroup.procs").write_text(str(pid))


def _processes(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "cgroup.procs").read_text().split()]


def _unescaped(path: str) -> str:
    return path.encode().decode("unicode_escape") if "\\" in path else path


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
