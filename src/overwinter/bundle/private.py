"""Files private to this process: written once, frozen, and readable as a folder.

The bytes that are loaded must be those that were verified, even if other processes can write to their source: they must
neither replace bytes nor truncate a mapped file. The files are in anonymous memory (memfd_create), sealed against
changes; the folder holds only links to them, and both disappear with the process. If they would take more than half of
the free memory, they are unnamed files in TMPDIR instead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from overwinter.bundle.memory import available_bytes
from overwinter.bundle.pages import take_huge_pages
from overwinter.errors import IntegrityError, OverwinterError
from overwinter.plain_files import open_plain, pieces_of

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_MEMORY = Path("/dev/shm")  # noqa: S108 -- only links go there, into our own folder
_SMALL_BYTES = 16 << 20  # not worth checking the free memory


class PrivateFiles:
    """Files that only this process can write, and that are immutable once frozen.

    Args:
        sizes: size of each file in bytes, by its name: relative, with forward slashes.
        memory_only: never write to a disk, for content that is encrypted at rest.

    Attributes:
        folder: folder in which they can be opened, read only.

    Raises:
        IntegrityError: two names cannot be in one folder.
        OverwinterError: there is not enough space.
    """

    def __init__(self, sizes: Mapping[str, int], *, memory_only: bool = False) -> None:
        total_bytes = sum(sizes.values())
        self._in_memory = memory_only or total_bytes <= _SMALL_BYTES or total_bytes <= available_bytes() // 2
        self.folder = _folder()
        self._handles: dict[str, int] = {}
        self._close = weakref.finalize(self, _remove, self.folder, self._handles, os.getpid())
        try:
            for name, size_bytes in sizes.items():
                self._add(name, size_bytes)
        except BaseException:
            self._close()
            raise

    def prepare(self, name: str, place: int, size_bytes: int) -> None:
        """Allocate a part of a file at once, which is faster than page by page."""
        if self._in_memory:
            take_huge_pages(self._handles[name], place, size_bytes)

    def store(self, name: str, piece: memoryview, place: int) -> None:
        """Write a piece of a file; threads may write different pieces."""
        try:
            while piece:
                written = os.pwrite(self._handles[name], piece, place)
                piece, place = piece[written:], place + written
        except OSError as error:
            raise _no_space(error, "memory" if self._in_memory else tempfile.gettempdir()) from None

    def freeze(self) -> None:
        """Make the files immutable, also for this process."""
        for handle in self._handles.values():
            os.fchmod(handle, 0o400)
            if self._in_memory:
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)

    def release(self, below: str = "") -> None:
        """Free files; mapped ones stay until they are unmapped.

        Args:
            below: the folder to free; if empty, all of them.
        """
        if not below:
            self._close()
        for name in [name for name in self._handles if name.startswith(f"{below}/")]:
            (self.folder / name).unlink(missing_ok=True)
            os.close(self._handles.pop(name))

    def _add(self, name: str, size_bytes: int) -> None:
        handle = self._handles[name] = _in_memory(name) if self._in_memory else _on_disk()
        _allocate(handle, size_bytes, in_memory=self._in_memory)
        link = self.folder / name
        try:
            if "/" in name:
                link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
        except OSError as error:
            raise IntegrityError(
                f"The name {name!r} cannot be a file in a folder: {error.strerror}. Don't use it."
            ) from None


def private_copy(path: Path) -> PrivateFiles:
    """Return a frozen copy of one file under the same name.

    Raises:
        IntegrityError: it cannot be read, or is not a plain file.
        OverwinterError: there is not enough space.
    """
    try:
        with open_plain(path, follow=True) as stream:
            size_bytes, place = os.fstat(stream.fileno()).st_size, 0
            copy = PrivateFiles({path.name: size_bytes})
            for piece in pieces_of(stream, size_bytes):
                copy.store(path.name, piece, place)
                place += len(piece)
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}. Is it a bundle?") from None
    copy.freeze()
    return copy


def _folder() -> Path:
    """Create a folder for the links, readable by its owner only."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    try:
        return Path(tempfile.mkdtemp(prefix="overwinter-", dir=place))
    except OSError as error:
        raise OverwinterError(
            f"No folder can be created for private files: {error.strerror}. Make /dev/shm or TMPDIR writable."
        ) from None


def _in_memory(name: str) -> int:
    """Open a file in memory; its name is only shown in /proc."""
    return os.memfd_create(name.rpartition("/")[2][:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _on_disk() -> int:
    """Open an unnamed file, so that nothing is left on the disk however this process ends."""
    folder = tempfile.gettempdir()
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise _no_space(error, folder) from None
    handle, name = tempfile.mkstemp(dir=folder)
    Path(name).unlink()
    return handle


def _allocate(handle: int, size_bytes: int, *, in_memory: bool) -> None:
    try:
        if in_memory or not size_bytes:
            os.ftruncate(handle, size_bytes)
        else:
            os.posix_fallocate(handle, 0, size_bytes)  # otherwise a full disk would fail in the middle
    except OSError as error:
        raise _no_space(error, "memory" if in_memory else tempfile.gettempdir()) from None


def _no_space(error: OSError, where: str) -> OverwinterError:
    return OverwinterError(
        f"There is no space in {where} for a private copy of the verified files: {error.strerror}. Free "
        "some space, or set TMPDIR to a folder on a disk of this machine."
    )


def _remove(folder: Path, handles: dict[str, int], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child: the files belong to its parent
    while handles:
        os.close(handles.popitem()[1])
    shutil.rmtree(folder, ignore_errors=True)
