"""An opened sealed file: any part of any file in it, decrypted on demand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from overwinter.bundle.sealed.container import PlainReader
from overwinter.bundle.sealed.index import read_index
from overwinter.bundle.sealed.keys import WrappingKey
from overwinter.bundle.spans import Span
from overwinter.errors import IntegrityError


class OpenedFile:
    """The files in a sealed file; threads may share one. The sealed file is closed when this object is dropped.

    Args:
        path: file that `seal` wrote.
        keys: wrapping keys, one of which must open it.

    Attributes:
        sizes: size of each file in bytes, by its name.

    Raises:
        IntegrityError: the header or the index was altered, or no key opens it.
    """

    def __init__(self, path: Path, keys: Sequence[WrappingKey]) -> None:
        self._plain = PlainReader(path, keys)
        self.sizes, self._begins = _index(self._plain)

    def pieces(self, span: Span) -> Iterator[memoryview]:
        """Yield a part of a file, piece by piece; a piece is overwritten once the thread asks for the next.

        Raises:
            IntegrityError: it was altered or truncated.
        """
        name, place, size_bytes = span
        return self._plain.pieces(self._begins[name] + place, size_bytes)


def _index(plain: PlainReader) -> tuple[dict[str, int], dict[str, int]]:
    """Return the size of each file, and its offset in the plaintext."""
    taken = 0

    def take(size_bytes: int) -> bytes:
        nonlocal taken
        content = b"".join(map(bytes, plain.pieces(taken, min(size_bytes, plain.room_bytes - taken))))
        taken += len(content)
        return content

    sizes = read_index(plain.path, take, plain.room_bytes)
    begins = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=taken), strict=False))
    if not plain.chunks_of(taken + sum(sizes.values())):
        raise IntegrityError(f"{plain.path} does not match its index: it is too long. Don't use it.")
    return sizes, begins
