"""The files of a bundle, as a folder or in a sealed file: their sizes, their digests, and a folder to open them in."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from overwinter.errors import IntegrityError

REMEDY = "Don't use this bundle; make it again with `dvc repro hibernate`."
_PIECE_BYTES = 1 << 20
_FILES_LIMIT = 4096


class Contents(Protocol):
    """What verification needs to know of a bundle's files."""

    @property
    def folder(self) -> Path:
        """Where they can be opened."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file, by its name: relative, with forward slashes."""

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of files, as hexadecimal."""


class FolderContents:
    """A folder of plain files.

    Args:
        folder: the bundle.
        threads: files that are read side by side; none of them in parallel with itself.

    Raises:
        IntegrityError: it holds a link or a device, or is no folder.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self.sizes = _plain_sizes(folder)
        self._threads = threads

    def read(self, name: str) -> bytes:
        """See `Contents`."""
        return b"".join(bytes(piece) for piece in self._pieces(name, bytearray(self.sizes[name] + 1)))

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """See `Contents`."""
        listed = sorted(names, key=lambda name: -self.sizes[name])  # the largest first, so that none is waited for
        with ThreadPoolExecutor(max_workers=self._threads) as pool:
            return dict(zip(listed, pool.map(self._digest, listed), strict=True))

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256()
        for piece in self._pieces(name, bytearray(_PIECE_BYTES)):
            digest.update(piece)
        return digest.hexdigest()

    def _pieces(self, name: str, room: bytearray) -> Iterator[memoryview]:
        """Read a file, which must not have become a link since it was looked at, piece by piece into ``room``."""
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW)
            with io.FileIO(handle) as stream:
                while read := stream.readinto(room):
                    yield memoryview(room)[:read]
        except OSError as error:
            raise IntegrityError(f"{self.folder / name} cannot be read: {error.strerror}. {REMEDY}") from None


def _plain_sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for parent, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        for name in [*folders, *names]:
            path = Path(parent) / name
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                sizes[path.relative_to(folder).as_posix()] = found.st_size
            elif not stat.S_ISDIR(found.st_mode):
                raise IntegrityError(f"{folder} holds links or devices, not plain files: {path}. {REMEDY}")
        if len(sizes) > _FILES_LIMIT:
            raise IntegrityError(f"{folder} holds more than {_FILES_LIMIT} files. {REMEDY}")
    return sizes


def _refuse_unreadable(error: OSError) -> None:
    raise IntegrityError(f"{error.filename} cannot be read: {error.strerror}. {REMEDY}")
