"""A sealed file opened in memory: decrypted once, digested on the way, and readable as a folder of files.

The files live in anonymous memory of this process (memfd_create), sealed against change, and go when it does: nothing
in the clear ever reaches a disk. The folder holds only links to them. A thread takes a span, and for every chunk of it
reads, decrypts, digests and stores, so that a chunk stays in the core's cache and cores never wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from overwinter.errors import IntegrityError
from overwinter.serving.sealing.container import PlainReader
from overwinter.serving.sealing.index import read_index
from overwinter.serving.sealing.keys import WrappingKey
from overwinter.serving.sealing.pages import take_huge_pages
from overwinter.serving.spans import Span, side_by_side

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_MEMORY = Path("/dev/shm")  # noqa: S108 -- only links go there, into a folder of our own


class OpenedFile:
    """What was sealed, as files in memory. They are gone once it is closed or dropped.

    A file is in the folder, whole and frozen, once `read` has returned it, or `digests` all of its spans.

    Args:
        path: what `seal` wrote.
        keys: wrapping keys; one of them has to fit.
        threads: that decrypt side by side.

    Attributes:
        folder: where they can be opened, read only.
        sizes: bytes of each file.

    Raises:
        IntegrityError: the header or the index was altered, or no key fits; nothing of it stays.
    """

    def __init__(self, path: Path, keys: Sequence[WrappingKey], *, threads: int = 1) -> None:
        self._plain, self._threads, self._counting = PlainReader(path, keys), threads, threading.Lock()
        self.folder = Path(tempfile.mkdtemp(prefix="overwinter-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self._handles: dict[str, int] = {}
        self.close = weakref.finalize(self, _close, self.folder, self._handles, os.getpid())
        try:
            self.sizes, self._begins = _index(self._plain)
            for name in self.sizes:
                self._add(name)
        except BaseException:
            self.close()
            raise
        self._missing = dict(self.sizes)

    def read(self, name: str) -> bytes:
        """Return the whole content of a file.

        Raises:
            IntegrityError: it was altered.
        """
        if name in self._missing:
            self._open((name, 0, self.sizes[name]))
        return os.pread(self._handles[name], self.sizes[name], 0)

    def digests(self, spans: Sequence[Span]) -> list[str]:
        """Return the SHA-256 of each span; no two may overlap, and together they are all that was not read yet.

        Raises:
            IntegrityError: it was altered.
        """
        return side_by_side(self._open, spans, self._threads)

    def _open(self, span: Span) -> str:
        """Decrypt a span into its file; return its digest."""
        name, place, size_bytes = span
        digest = hashlib.sha256()
        take_huge_pages(self._handles[name], place, size_bytes)
        for piece in self._plain.pieces(self._begins[name] + place, size_bytes):
            digest.update(piece)
            _store(self._handles[name], piece, place)
            place += len(piece)
        with self._counting:
            self._missing[name] -= size_bytes
            if self._missing[name] == 0:
                del self._missing[name]
                fcntl.fcntl(self._handles[name], fcntl.F_ADD_SEALS, _SEALS)
        return digest.hexdigest()

    def _add(self, name: str) -> None:
        """Begin a file; another one may be where its folder should be."""
        handle = os.memfd_create(name.rpartition("/")[2][:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._handles[name] = handle
        os.ftruncate(handle, self.sizes[name])
        link = self.folder / name
        try:
            link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
        except OSError as error:
            raise IntegrityError(
                f"{self._plain.path} has a wrong index: the name {name!r}: {error.strerror}. Don't use it."
            ) from None


def _index(plain: PlainReader) -> tuple[dict[str, int], dict[str, int]]:
    """Return sizes of the files, and where they begin in what was sealed."""
    taken = 0

    def take(size_bytes: int) -> bytes:
        nonlocal taken
        content = b"".join(map(bytes, plain.pieces(taken, min(size_bytes, plain.room_bytes - taken))))
        taken += len(content)
        return content

    sizes = read_index(plain.path, take, plain.room_bytes)
    begins = dict(zip(sizes, itertools.accumulate(sizes.values(), initial=taken), strict=False))
    if not plain.chunks_of(taken + sum(sizes.values())):
        raise IntegrityError(f"{plain.path} does not hold what its index says: it is too long. Don't use it.")
    return sizes, begins


def _store(handle: int, piece: memoryview, place: int) -> None:
    while piece:
        written = os.pwrite(handle, piece, place)
        piece, place = piece[written:], place + written


def _close(folder: Path, handles: Mapping[str, int], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child: they are its parent's
    for handle in handles.values():
        os.close(handle)
    shutil.rmtree(folder, ignore_errors=True)
