"""Index at the beginning of the plaintext: the names and sizes of the files that follow."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError, IntegrityError
from overwinter.plain_files import is_inside

_LENGTH = struct.Struct(">I")
_LIMIT_BYTES = 1 << 20
_FILES_LIMIT = 256  # an opened bundle takes a file descriptor for each


def index_bytes(contents: Mapping[str, Path]) -> bytes:
    """Return the index of files.

    Raises:
        ConfigError: a name points outside, or there are too many files.
    """
    for name in contents:
        if not is_inside(name):
            raise ConfigError(f"The name {name!r} cannot be sealed: it must be relative, without `..`.")
    text = json.dumps([[name, path.stat().st_size] for name, path in contents.items()]).encode()
    if len(contents) > _FILES_LIMIT or len(text) > _LIMIT_BYTES:
        raise ConfigError(
            f"{len(contents)} files cannot be sealed into one: at most {_FILES_LIMIT}. Pack some together."
        )
    return _LENGTH.pack(len(text)) + text


def read_index(path: Path, take: Callable[[int], bytes], room_bytes: int) -> dict[str, int]:
    """Return the sizes of files by name; the content is untrusted, because any holder of the key may have written it.

    Args:
        path: the sealed file, for the message.
        take: function that returns the requested number of next bytes.
        room_bytes: size of the plaintext.

    Raises:
        IntegrityError: the index is malformed, or a name points outside.
    """
    try:
        (length,) = _LENGTH.unpack(take(_LENGTH.size))
        text = take(_at_most(length, min(_LIMIT_BYTES, room_bytes - _LENGTH.size)))
        return _parse(text, room_bytes - _LENGTH.size - length)
    except (struct.error, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} has a wrong index: {error}. Don't use it.") from None


def _parse(text: bytes, room_bytes: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, size_bytes in json.loads(text):
        if not is_inside(name) or name in sizes:
            raise ValueError(f"the name {name!r}")
        sizes[name] = _at_most(size_bytes, room_bytes)
        room_bytes -= size_bytes
        if len(sizes) > _FILES_LIMIT:
            raise ValueError("too many files")
    return sizes


def _at_most(size_bytes: Any, most: int) -> int:
    if type(size_bytes) is not int or not 0 <= size_bytes <= most:
        raise ValueError(f"the size {size_bytes!r}")
    return size_bytes
