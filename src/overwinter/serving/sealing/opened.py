"""A sealed file opened in memory: decrypted once, digested on the way, and readable as a folder of files.

The files live in anonymous memory of this process (memfd_create), sealed against change, and go when it does: nothing
in the clear ever reaches a disk. The folder holds only links to them. Decrypting, digesting and storing one window of
chunks run side by side with the next, so that two cores verify about as fast as the slower of the three.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from overwinter.errors import IntegrityError
from overwinter.serving.sealing.container import plain_windows, read_header
from overwinter.serving.sealing.index import read_index
from overwinter.serving.sealing.keys import WrappingKey

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_MEMORY = Path("/dev/shm")  # noqa: S108 -- only links go there, into a folder of our own
_SMALL_BYTES = 1 << 16


def unseal_in_memory(path: Path, keys: Sequence[WrappingKey]) -> OpenedFile:
    """Decrypt and verify a sealed file, all of it.

    Args:
        path: what `seal` wrote.
        keys: wrapping keys; one of them has to fit.

    Raises:
        IntegrityError: it was altered, cut short or extended, or no key fits; nothing of it stays.
    """
    header = read_header(path)
    opened = OpenedFile()
    try:
        with contextlib.closing(plain_windows(path, keys)) as windows:
            _fill(opened, path, _Plain(windows), header.chunks * header.chunk_bytes)
    except BaseException:
        opened.close()
        raise
    opened.freeze()
    return opened


class OpenedFile:
    """Files in memory. They are gone once it is closed or dropped.

    Attributes:
        folder: where they can be opened, read only.
        sizes: bytes of each file.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="overwinter-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self.sizes: dict[str, int] = {}
        self._handles: dict[str, int] = {}
        self._hashes: dict[str, hashlib._Hash] = {}
        self.close = weakref.finalize(self, _close, self.folder, self._handles, os.getpid())

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        return os.pread(self._handles[name], self.sizes[name], 0)

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of files, as they were decrypted."""
        return {name: self._hashes[name].hexdigest() for name in names}

    def add(self, name: str) -> None:
        """Begin a file.

        Raises:
            ValueError: another file is where its folder should be.
        """
        handle = os.memfd_create(name.rpartition("/")[2][:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._handles[name], self._hashes[name], self.sizes[name] = handle, hashlib.sha256(), 0
        link = self.folder / name
        try:
            link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
        except OSError as error:
            raise ValueError(f"the name {name!r}: {error.strerror}") from None

    def extend(self, name: str, piece: memoryview, pool: ThreadPoolExecutor) -> None:
        """Add to a file; what is large is stored while it is digested."""
        stored = pool.submit(_store, self._handles[name], piece) if len(piece) > _SMALL_BYTES else None
        if stored is None:
            _store(self._handles[name], piece)
        self._hashes[name].update(piece)
        self.sizes[name] += len(piece)
        if stored is not None:
            stored.result()

    def freeze(self) -> None:
        """Seal the files against change."""
        for handle in self._handles.values():
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)


class _Plain:
    """A stream of windows from which one takes bytes."""

    def __init__(self, windows: Iterator[memoryview]) -> None:
        self._windows, self._rest = windows, memoryview(b"")

    def some(self, most: int) -> memoryview:
        """Return up to so many of the next bytes, valid until the next call."""
        if not self._rest:
            self._rest = next(self._windows)
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def take(self, size_bytes: int) -> bytes:
        """Return so many of the next bytes."""
        taken = bytearray()
        while len(taken) < size_bytes:
            taken += self.some(size_bytes - len(taken))
        return bytes(taken)

    def drain(self) -> None:
        """Have the rest decrypted, so that it is verified too."""
        for _ in self._windows:
            pass


def _fill(opened: OpenedFile, path: Path, plain: _Plain, room_bytes: int) -> None:
    try:
        sizes = read_index(path, plain.take, room_bytes)
        with ThreadPoolExecutor(max_workers=1) as pool:
            for name, size_bytes in sizes.items():
                opened.add(name)
                while opened.sizes[name] < size_bytes:
                    opened.extend(name, plain.some(size_bytes - opened.sizes[name]), pool)
        plain.drain()
    except (StopIteration, ValueError) as error:
        raise IntegrityError(f"{path} does not hold what its index says: {error}. Don't use it.") from None


def _store(handle: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(handle, piece) :]


def _close(folder: Path, handles: Mapping[str, int], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child: they are its parent's
    for handle in handles.values():
        os.close(handle)
    shutil.rmtree(folder, ignore_errors=True)
