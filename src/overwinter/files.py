"""Atomic file writes: to a temporary name, flushed to the disk, renamed into place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overwinter.errors import IntegrityError, OverwinterError

_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; on success it replaces ``path`` atomically.

    Raises:
        OverwinterError: the disk is full, or read-only; the old file, if any, is untouched.
    """
    folder = _made(path.parent)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=folder)
    except OSError as error:
        raise write_error(path, error) from error
    os.close(handle)
    staging = Path(name)
    try:
        yield staging
        staging.chmod(mode)
        sync(staging)
        staging.replace(path)
        sync(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        staging.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write ``content`` to ``path`` atomically."""
    with replacing(path, mode) as staging:
        staging.write_bytes(content)


def write_text(path: Path, content: str, mode: int = 0o644) -> None:
    """Write ``content`` as UTF-8 to ``path`` atomically."""
    write_bytes(path, content.encode(), mode)


def write_json(path: Path, content: Any, mode: int = 0o644) -> None:
    """Write ``content`` as indented JSON; NaN and infinity raise ValueError, since JSON has neither."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n", mode)


def read_json(path: Path, *, remedy: str) -> Any:
    """Read a JSON file that Overwinter wrote.

    Args:
        path: the file.
        remedy: next step for the error message, such as ``Run `dvc repro train`.``

    Raises:
        IntegrityError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing. {remedy}") from None
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}. {remedy}") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hexadecimal."""
    hashed = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()


def digest(content: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tree_digest(path: Path) -> str:
    """Return the digest of a file, or of a folder's file names and contents without Python's caches."""
    if path.is_file():
        return sha256(path)
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
    return digest({str(file.relative_to(path)): sha256(file) for file in files})


def open_to_others(path: Path, mode: int) -> bool:
    """Return whether users other than the owner may read or write a secret file.

    systemd may open a credential to its service through an access list, whose mask then shows as the group's
    permissions; see systemd.exec(5), LoadCredential=.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    is_credential = bool(credentials) and path.resolve().is_relative_to(Path(str(credentials)).resolve())
    return bool(mode & (0o007 if is_credential else 0o077))


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_error(path: Path, error: OSError) -> OverwinterError:
    """Return an error that describes a failed write and the next step."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OverwinterError(f"No space left to write {path}. Free some space and run the same command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OverwinterError(f"{path} cannot be written: {error.strerror}. Check the folder's permissions.")
    return OverwinterError(f"{path} cannot be written: {error}.")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder
