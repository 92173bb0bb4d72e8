"""Opening files that someone else may exchange at any time: plain ones only, and without waiting for anybody."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

# A file may have become a link, or a pipe that no one ever writes to, since it was looked at.
_SAFELY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 1 << 20  # what a core's cache holds while it is digested and stored


def open_plain(path: Path, *, follow: bool = False) -> io.FileIO:
    """Open a plain file to be read.

    Args:
        path: where it is.
        follow: whether a link may lead to it.

    Raises:
        OSError: it cannot be opened, or is no plain file.
    """
    stream = io.FileIO(os.open(path, _SAFELY | (0 if follow else os.O_NOFOLLOW)))
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return stream
    stream.close()
    raise OSError(errno.EINVAL, "it is no plain file")


def pieces_of(stream: io.FileIO, size_bytes: int) -> Iterator[memoryview]:
    """Yield so many bytes, or as many as there are, piece by piece; a piece is overwritten by the next."""
    room = memoryview(bytearray(min(size_bytes, _READ_BYTES)))
    while size_bytes and (read := stream.readinto(room[:size_bytes])):
        yield room[:read]
        size_bytes -= read


def is_inside(name: Any) -> bool:
    """Return whether a name, from anywhere, is that of a file inside a folder, in its only spelling."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or not name.isprintable():
        return False
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts and str(place) == name and name != "."
