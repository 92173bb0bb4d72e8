"""Detection of other meters on this machine: runs that read a counter at the same time divide its energy (`sharing`).

A running meter keeps a small locked file in a folder shared by all users; the kernel releases the lock when its
process ends. A meter inside another one's command is not a neighbour: its figure is a part of the other's. Containers
with separate /tmp folders see each other's meters only if OVERWINTER_METERS names a shared folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.energy import proc

_FOLDER = "overwinter-meters"
_SHARED_MODE = 0o1777  # any user may add files, and remove only their own
_ENVIRONMENT = "OVERWINTER_METERS"
_PACE_S = 1.0
_MAX_BYTES = 4096
_MAX_FILES = 1000


class Neighbours:
    """The other meters that run at the same time.

    Args:
        counters: The counters that this meter reads, by their identity on this machine.
        folder: The shared folder; the machine's own by default.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self, counters: Collection[str], *, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counters = frozenset(counters)
        self._clock = clock
        self._folder = folder or Path(os.environ.get(_ENVIRONMENT) or Path(tempfile.gettempdir()) / _FOLDER)
        self._pid = os.getpid()
        self._ancestors = _ancestors(self._pid)
        self._path: Path | None = None
        self._lock = -1
        self._due_s, self._changed_ns = float("-inf"), 0
        self._found: Mapping[str, frozenset[int]] = {}

    def begin(self) -> None:
        """Register this meter; without a usable folder, other meters do not see it."""
        if not self._counters:
            return
        with contextlib.suppress(OSError):
            _make_shared(self._folder)
            self._register()

    def look(self) -> Mapping[str, frozenset[int]]:
        """Return the other processes that meter each counter; a counter without others is left out.

        A start or end is seen at once, with one system call; a kill within a second.
        """
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                changed_ns = self._folder.stat().st_mtime_ns
                if changed_ns != self._changed_ns or self._clock() >= self._due_s:
                    self._changed_ns, self._due_s = changed_ns, self._clock() + _PACE_S
                    self._found = self._by_counter(list(self._others()))
        return self._found

    def close(self) -> None:
        """Unregister this meter."""
        if self._lock < 0 or self._pid != os.getpid():
            return
        with contextlib.suppress(OSError):
            if self._path:
                self._path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock, self._found = -1, {}

    def _register(self) -> None:
        """Put a locked file into the folder, complete before it gets its final name."""
        path = self._folder / f"{self._pid}-{secrets.token_hex(4)}.json"
        new = path.with_suffix(".new")
        handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            content = {"pid": self._pid, "ancestors": sorted(self._ancestors), "counters": sorted(self._counters)}
            os.write(handle, json.dumps(content).encode())
            new.rename(path)
        except OSError:
            os.close(handle)
            new.unlink(missing_ok=True)
            raise
        self._path, self._lock = path, handle

    def _others(self) -> Iterator[Mapping[str, Any]]:
        for path in sorted(self._folder.glob("*.json"))[:_MAX_FILES]:
            if path == self._path:
                continue
            other = _running(path)
            if other is not None and not self._is_related(other):
                yield other

    def _is_related(self, other: Mapping[str, Any]) -> bool:
        return other["pid"] == self._pid or other["pid"] in self._ancestors or self._pid in other["ancestors"]

    def _by_counter(self, others: Sequence[Mapping[str, Any]]) -> Mapping[str, frozenset[int]]:
        """Return process ids by counter, without meters inside another one's command."""
        found: dict[str, frozenset[int]] = {}
        for counter in self._counters:
            readers = {other["pid"]: other["ancestors"] for other in others if counter in other["counters"]}
            if outermost := frozenset(pid for pid, ancestors in readers.items() if not readers.keys() & ancestors):
                found[counter] = outermost
        return found


def _running(path: Path) -> Mapping[str, Any] | None:
    """Return a meter's file content; None, and remove the file, if the meter has ended."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return _parsed(os.read(handle, _MAX_BYTES))
    except OSError:
        return None
    finally:
        os.close(handle)


def _parsed(content: bytes) -> Mapping[str, Any] | None:
    """Parse a file that another user may have written; None if it is not a meter's."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        other = json.loads(content)
        return {
            "pid": int(other["pid"]),
            "ancestors": {int(pid) for pid in other["ancestors"]},
            "counters": {str(counter) for counter in other["counters"]},
        }
    return None


def _make_shared(folder: Path) -> None:
    """Create the folder for all users, or check that it is a folder and not a link.

    Raises:
        OSError: it cannot be created, or is not a folder.
    """
    try:
        folder.mkdir()
        folder.chmod(_SHARED_MODE)
    except FileExistsError:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise


def _ancestors(pid: int) -> frozenset[int]:
    found: set[int] = set()
    while (known := proc.stat(pid)) and known.ppid not in {0, *found}:
        pid = known.ppid
        found.add(pid)
    return frozenset(found)
