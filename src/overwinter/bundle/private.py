"""Files of this process alone: written once, frozen, and readable as a folder.

What was verified must be what is loaded, anyone who may write where it came from: so that others can neither exchange
the bytes nor cut a file short under those who have mapped it. The files live in anonymous memory (memfd_create), sealed
against every change; the folder holds only links to them, and all of it goes when the process does. Where they would
take more than half of the memory that is left, they are nameless files on the disk instead, where TMPDIR points to.
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
_MEMORY = Path("/dev/shm")  # noqa: S108 -- only links go there, into a folder of our own
_SMALL_BYTES = 16 << 20  # too little to ask what is left


class PrivateFiles:
    """Files that no one else can change, and no one at all once they are frozen.

    Args:
        sizes: bytes of each file, by its name: relative, with forward slashes.
        memory_only: never on a disk, such as what was encrypted on one.

    Attributes:
        folder: where they can be opened, read only.

    Raises:
        IntegrityError: two names cannot be in one folder.
        OverwinterError: there is no room for them.
    """

    def __init__(self, sizes: Mapping[str, int], *, memory_only: bool = False) -> None:
        total_bytes = sum(sizes.values())
        self._in_memory = memory_only or total_bytes <= _SMALL_BYTES or total_bytes <= available_bytes() // 2
        self.folder = _folder()
        self._handles: dict[str, int] = {}
        self._close = weakref.finalize(self, _give_back, self.folder, self._handles, os.getpid())
        try:
            for name, size_bytes in sizes.items():
                self._add(name, size_bytes)
        except BaseException:
            self._close()
            raise

    def prepare(self, name: str, place: int, size_bytes: int) -> None:
        """Take room for a part of a file at once: quicker than page by page."""
        if self._in_memory:
            take_huge_pages(self._handles[name], place, size_bytes)

    def store(self, name: str, piece: memoryview, place: int) -> None:
        """Write a piece of a file; threads may, each its own."""
        try:
            while piece:
                written = os.pwrite(self._handles[name], piece, place)
                piece, place = piece[written:], place + written
        except OSError as error:
            raise _no_room(error, "the memory" if self._in_memory else tempfile.gettempdir()) from None

    def freeze(self) -> None:
        """Let no one change the files any more, this process included."""
        for handle in self._handles.values():
            os.fchmod(handle, 0o400)
            if self._in_memory:
                fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)

    def release(self, below: str = "") -> None:
        """Give files back; what is mapped stays until it is not any more.

        Args:
            below: the folder in which they are; all of them if empty.
        """
        if not below:
            self._close()
        for name in [name for name in self._handles if name.startswith(f"{below}/")]:
            (self.folder / name).unlink(missing_ok=True)
            os.close(self._handles.pop(name))

    def _add(self, name: str, size_bytes: int) -> None:
        handle = self._handles[name] = _in_memory(name) if self._in_memory else _on_disk()
        _take_room(handle, size_bytes, in_memory=self._in_memory)
        link = self.folder / name
        try:
            if "/" in name:
                link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
        except OSError as error:
            raise IntegrityError(f"The name {name!r} fits into no folder: {error.strerror}. Don't use it.") from None


def copied(path: Path) -> PrivateFiles:
    """Return a copy of one file, by its own name: as it is now, whatever becomes of it.

    Raises:
        IntegrityError: it cannot be read, or is no plain file.
        OverwinterError: there is no room for it.
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
    """Make a folder for the links, readable by its owner alone."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    try:
        return Path(tempfile.mkdtemp(prefix="overwinter-", dir=place))
    except OSError as error:
        raise OverwinterError(
            f"No folder can be made for private files: {error.strerror}. Let /dev/shm or TMPDIR be writable."
        ) from None


def _in_memory(name: str) -> int:
    """Open a file in memory; its name is for those who look at the process."""
    return os.memfd_create(name.rpartition("/")[2][:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _on_disk() -> int:
    """Open a file that has no name, so that nothing stays behind whatever ends this process."""
    folder = tempfile.gettempdir()
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise _no_room(error, folder) from None
    handle, name = tempfile.mkstemp(dir=folder)
    Path(name).unlink()
    return handle


def _take_room(handle: int, size_bytes: int, *, in_memory: bool) -> None:
    try:
        if in_memory or not size_bytes:
            os.ftruncate(handle, size_bytes)
        else:
            os.posix_fallocate(handle, 0, size_bytes)  # else a full disk would show in the middle
    except OSError as error:
        raise _no_room(error, "the memory" if in_memory else tempfile.gettempdir()) from None


def _no_room(error: OSError, where: str) -> OverwinterError:
    return OverwinterError(
        f"There is no room in {where} for a private copy of what was verified: {error.strerror}. Free "
        "some space, or set TMPDIR to a folder on a disk of this machine."
    )


def _give_back(folder: Path, handles: dict[str, int], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child: they are its parent's
    while handles:
        os.close(handles.popitem()[1])
    shutil.rmtree(folder, ignore_errors=True)
