"""A bundle's folder as a source of bytes: plain files only, each read when needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from overwinter.bundle.spans import Span
from overwinter.errors import IntegrityError
from overwinter.plain_files import open_plain, pieces_of

REMEDY = "Don't use this bundle; make it again with `dvc repro hibernate`."
FILES_LIMIT = 256  # as in a sealed file: each held file takes a file descriptor


class FolderSource:
    """A folder of plain files; threads may share one.

    Args:
        folder: the bundle.

    Attributes:
        sizes: size of each file in bytes, by its name: relative, with forward slashes.

    Raises:
        IntegrityError: it holds a link or a device, or is not a folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sizes = _plain_sizes(folder)

    def pieces(self, span: Span) -> Iterator[memoryview]:
        """Yield a part of a file, piece by piece; a piece is overwritten once the thread asks for the next.

        A truncated file yields fewer bytes; a file that grew yields only the part.

        Raises:
            IntegrityError: it is no longer a plain file, or cannot be read.
        """
        name, place, size_bytes = span
        try:
            with open_plain(self._folder / name) as stream:
                stream.seek(place)
                yield from pieces_of(stream, size_bytes)
        except OSError as error:
            raise IntegrityError(f"{self._folder / name} cannot be read: {error.strerror}. {REMEDY}") from None


def _plain_sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for parent, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        for name in [*folders, *names]:
            path = Path(parent) / name
            found = _lstat(path)
            if stat.S_ISREG(found.st_mode):
                sizes[path.relative_to(folder).as_posix()] = found.st_size
            elif not stat.S_ISDIR(found.st_mode):
                raise IntegrityError(f"{folder} holds links or devices, not plain files: {path}. {REMEDY}")
        if len(sizes) > FILES_LIMIT:
            raise IntegrityError(f"{folder} holds more than {FILES_LIMIT} files. {REMEDY}")
    return sizes


def _lstat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        _refuse_unreadable(error)


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise IntegrityError(f"{error.filename} cannot be read: {error.strerror}. {REMEDY}")
