"""A control group of our own, in which the kernel adds up CPU time: of all that is in it, living or finished.

It is made within the control group that this process is in, so that every limit set there goes on to hold, and
only where that changes nothing but the count: in version 1's `cpuacct` mounted by itself, or in version 2
without any controller. Anyone who is in it is put back at the end, and it is removed; what a killed meter left
behind, the next one in the same place collects.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

_PREFIX = "overwinter-"
_ROUNDS = 5  # of moving: what is being moved may fork
_OWN_CGROUP = Path("/proc/self/cgroup")
_OWN_MOUNTS = Path("/proc/self/mountinfo")


class ControlGroup:
    """One group that this process and what it starts are in, from `enter` to `leave`.

    Args:
        parent: the folder of the group that this process is in.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = parent / f"{_PREFIX}{os.getpid()}"
        self._lock = -1

    def enter(self, others: Iterable[int] = ()) -> None:
        """Make the group and move this process, and ``others`` that are in the same one, into it.

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
        """Return CPU seconds used in the group so far, by all that is or was in it.

        Raises:
            OSError: it is gone.
        """
        version_1 = self._folder / "cpuacct.usage"
        if version_1.exists():
            return int(version_1.read_text()) / 1e9
        used = (self._folder / "cpu.stat").read_text().split()
        return int(used[used.index("usage_usec") + 1]) / 1e6

    def processes(self) -> list[int]:
        """Return what is in the group now; nothing once it is gone."""
        with contextlib.suppress(OSError):
            return _processes(self._folder)
        return []

    def leave(self) -> None:
        """Put all back where it was, and remove the group. Never raises."""
        _dissolve(self._folder)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class SharedGroup:
    """The one group of this process, however many meters want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group: ControlGroup | None = None
        self._users = self._pid = 0

    def enter(self, others: Iterable[int]) -> ControlGroup | None:
        """Return the group, with this process in it; None where none can be made."""
        with self._lock:
            if self._pid != os.getpid():  # a fork is in its parent's group, and no user of it
                self._group, self._users, self._pid = None, 0, os.getpid()
            if self._group is None:
                self._group = _entered(others)
            self._users += self._group is not None
            return self._group

    def leave(self) -> None:
        """Say that one user needs it no more; the last one removes it."""
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
    """Give the folders of this process's control groups in which one of our own changes nothing but the count.

    Args:
        memberships: content of /proc/self/cgroup.
        mounts: content of /proc/self/mountinfo.
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
    """The group's folder under a mount that shows the hierarchy from ``root`` on."""
    if path == root or path.startswith(root.rstrip("/") + "/"):
        place = folder / path[len(root) :].lstrip("/")
        if ".." not in place.parts and place.is_dir():
            yield place


def _only_counts(place: Path) -> bool:
    """Return whether a group within this one of version 2 would bring no controller, and hide no limit.

    A runtime such as Java looks for its limits in its own group only.
    """
    return (
        not _read(place / "cgroup.subtree_control").strip()
        and _read(place / "cgroup.type").strip() in ("", "domain")
        and _read(place / "cpu.max").partition(" ")[0].strip() in ("", "max")
        and _read(place / "memory.max").strip() in ("", "max")
    )


def _collect(parent: Path) -> None:
    """Remove the groups of meters that were killed: no one holds their locks any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _dissolve(folder)
            finally:
                os.close(handle)


def _dissolve(folder: Path) -> None:
    """Move what is in a group to the group above, and remove it; while someone's own group is in it, it stays."""
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
