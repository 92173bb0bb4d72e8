"""Output files that the user names: checked before the work starts, and written as the shell's `>` would.

Links are followed, and devices, pipes and open descriptors (`/dev/stdout`, `/dev/fd/3`) are written to. `files` is
for the project's own files: it replaces a link, since DVC's cache may be behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import stat
import tempfile
import time
from pathlib import Path

from overwinter.errors import EXIT_USAGE, OverwinterError
from overwinter.files import sync, write_error

_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|thread-self|{pid}))/fd/(\d+)".replace("{pid}", str(os.getpid())))
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MAX_LINKS = 40
_READER_TIMEOUT_S = 5.0
_READER_POLL_S = 0.05


class OutputError(OverwinterError):
    """An output file that cannot be written, detected before any work is done."""

    exit_code = EXIT_USAGE


def output_path(text: str) -> Path:
    """Return a path from the command line; a type for argparse.

    Raises:
        argparse.ArgumentTypeError: the text is empty, or names a folder.
    """
    if not text or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a file")
    return Path(text)


def check_output(path: Path) -> None:
    """Check, as far as possible, that `write_output` can write ``path``.

    Raises:
        OutputError: it cannot; nothing was changed.
    """
    try:
        _check(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Name another file.") from None


def check_output_folder(folder: Path) -> None:
    """Check, as far as possible, that files can be written into ``folder``, which need not exist yet.

    Raises:
        OutputError: they cannot; nothing was changed.
    """
    try:
        above = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
        if not above.is_dir():
            raise OutputError(f"{above} is {'a file' if above.is_file() else 'no folder'}. Name another folder.")
        _try_folder(above)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}. Name another folder.") from None


def write_output(path: Path, content: str) -> None:
    """Write ``content`` as UTF-8.

    A regular file is replaced atomically and keeps its mode and owner; a link keeps pointing to it.

    Raises:
        OverwinterError: the disk is full, the pipe has no reader, ...
    """
    try:
        _write(path, content.encode())
    except OSError as error:
        raise write_error(path, error) from error


def _check(path: Path) -> None:
    target = _target(path)
    if isinstance(target, int):
        os.fstat(target)
        return
    found = _status(target)
    if found is not None and (stat.S_ISDIR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "disk"
        raise OSError(errno.EISDIR, f"it is a {kind}")
    if found is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if found is None:
        _try_folder(target.parent)


def _try_folder(folder: Path) -> None:
    """Create a file and remove it: only this reveals missing permissions, and a read-only or full disk."""
    handle, name = tempfile.mkstemp(prefix=".overwinter-", dir=folder)
    os.close(handle)
    Path(name).unlink()


def _write(path: Path, content: bytes) -> None:
    target = _target(path)
    if isinstance(target, int):
        _write_to(os.dup(target), content)
        return
    found = _status(target)
    if found is None or stat.S_ISREG(found.st_mode):
        if (found is not None and found.st_nlink > 1) or not _replaced(target, content, found):
            _write_to(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666), content)
    elif stat.S_ISFIFO(found.st_mode):
        _write_to(_pipe(target), content)
    else:
        _write_to(os.open(target, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC), content)


def _target(path: Path) -> Path | int:
    """Resolve links to a path, or to one of this process's descriptors."""
    here = Path.cwd() / path
    for _ in range(_MAX_LINKS):
        here = here.parent.resolve() / here.name
        descriptor = _descriptor(str(here))
        if descriptor is not None:
            return descriptor
        try:
            link = here.readlink()
        except OSError:
            return here
        here = here.parent / link
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _descriptor(name: str) -> int | None:
    if name in _STANDARD:
        return _STANDARD[name]
    found = _DESCRIPTOR.fullmatch(name)
    return int(found[1]) if found else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replaced(path: Path, content: bytes, old: os.stat_result | None) -> bool:
    """Replace ``path`` with a new file; return False if that would lose its owner, or the folder forbids it."""
    try:
        handle, name = tempfile.mkstemp(prefix=".overwinter-", dir=path.parent)
    except PermissionError:
        return False
    staging = Path(name)
    try:
        try:
            _set_mode_and_owner(handle, old)
        except OSError:
            os.close(handle)
            return False
        _write_to(handle, content)
        sync(staging)
        staging.replace(path)
        with contextlib.suppress(OSError):
            sync(path.parent)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EPERM, errno.EACCES):  # a file that is a mount point, a sticky folder
            raise
        return False
    finally:
        staging.unlink(missing_ok=True)
    return True


def _set_mode_and_owner(handle: int, old: os.stat_result | None) -> None:
    """Give a new file the old file's mode and owner, or without one the mode that the umask allows."""
    if old is None:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)
        return
    made = os.fstat(handle)
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode))


def _pipe(path: Path) -> int:
    """Open a named pipe; wait a few seconds for its reader."""
    end_s = time.monotonic() + _READER_TIMEOUT_S
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > end_s:
                raise
            time.sleep(_READER_POLL_S)
        else:
            os.set_blocking(handle, True)
            return handle


def _write_to(handle: int, content: bytes) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
