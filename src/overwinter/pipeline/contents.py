"""Digests of files and folders that stages read, each hashed once as long as it does not change.

The size, the time of the last change and the inode of each file tell whether it changed, as in Git's index and DVC's
state. Digests of large ones are kept in `.overwinter/`, for the next process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overwinter.errors import IntegrityError, OverwinterError
from overwinter.files import digest, read_json, tree_digest, write_json

CONTENTS_FILE = "contents.json"
_WORTH_KEEPING_BYTES = 1 << 20
_MOST_KEPT = 1000
_KNOWN: dict[str, tuple[str, str]] = {}  # path -> its state when it was hashed, and the digest of its content


class Contents:
    """Digests of files and folders, while one command plans: nothing is looked at twice.

    Args:
        state: The folder `.overwinter`.
    """

    def __init__(self, state: Path) -> None:
        self._file = state / CONTENTS_FILE
        self._seen: dict[Path, str] = {}

    def digest(self, path: Path) -> str:
        """Return the digest of a file's or folder's content, as `files.tree_digest`; empty if it does not exist."""
        if path not in self._seen:
            self._seen[path] = self._digest(path) if path.exists() else ""
        return self._seen[path]

    def _digest(self, path: Path) -> str:
        place = str(path.absolute())
        size_bytes, state = _state(path)
        large = size_bytes >= _WORTH_KEEPING_BYTES
        if place not in _KNOWN and large:
            _KNOWN.update({name: each for name, each in self._kept().items() if name not in _KNOWN})
        known = _KNOWN.get(place)
        if known is not None and known[0] == state:
            return known[1]
        content = tree_digest(path)
        _KNOWN[place] = (state, content)
        if large:
            self._keep(place, state, content)
        return content

    def _kept(self) -> dict[str, tuple[str, str]]:
        with contextlib.suppress(IntegrityError):  # missing, or damaged: everything is hashed again
            content: Any = read_json(self._file, remedy="")
            if isinstance(content, dict):
                return {name: (each[0], each[1]) for name, each in content.items() if _is_pair(each)}
        return {}

    def _keep(self, place: str, state: str, content: str) -> None:
        kept = {name: each for name, each in self._kept().items() if name != place}
        latest = [*kept.items(), (place, (state, content))][-_MOST_KEPT:]
        with contextlib.suppress(OverwinterError):  # on a full or read-only disk, it is hashed again next time
            write_json(self._file, dict(latest))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)


def _state(path: Path) -> tuple[int, str]:
    """Return the size of a file or of all files of a folder, and a digest that changes when one of them does."""
    files = sorted(_files(path))
    return sum(size_bytes for _, size_bytes, *_ in files), digest(files)


def _files(path: Path) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield name, size, times of change and inode of each file, without Python's caches."""
    if path.is_file():
        yield _described("", path.stat())
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            file = Path(folder, name)
            if file.is_file():
                yield _described(str(file.relative_to(path)), file.stat())


def _described(name: str, status: os.stat_result) -> tuple[str, int, int, int, int]:
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
