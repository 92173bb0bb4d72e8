"""Reads of files that another process may replace at any time: regular files only, and without blocking."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

# Since it was checked, a file may have become a link, or a pipe without a writer.
_SAFELY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 1 << 20  # fits a core's cache while it is hashed and stored


def open_plain(path: Path, *, follow: bool = False) -> io.FileIO:
    """Open a regular file for reading.

    Args:
        path: path of the file.
        follow: whether to follow a link.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    stream = io.FileIO(os.open(path, _SAFELY | (0 if follow else os.O_NOFOLLOW)))
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return stream
    stream.close()
    raise OSError(errno.EINVAL, "it is not a regular file")


def pieces_of(stream: io.FileIO, size_bytes: int) -> Iterator[memoryview]:
    """Yield up to ``size_bytes`` bytes in pieces; each piece is overwritten by the next."""
    room = memoryview(bytearray(min(size_bytes, _READ_BYTES)))
    while size_bytes and (read := stream.readinto(room[:size_bytes])):
        yield room[:read]
        size_bytes -= read


def is_inside(name: Any) -> bool:
    """Return whether an untrusted name is the normalized path of a file inside a folder."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or not name.isprintable():
        return False
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts and str(place) == name and name != "."
