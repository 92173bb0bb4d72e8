"""Integrity of a folder: a sealed JSON file lists the digest and size of every file.

The JSON is *sealed*: it contains the digest of its own content, and only the exact bytes that `write_sealed`
wrote are accepted, so that one altered byte anywhere in the folder is detected before use.
A seal detects damage, not malice: an attacker who can rewrite the folder can seal it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from overwinter import files
from overwinter.errors import IntegrityError

__all__ = ["check_size", "describe_files", "parse_sealed", "read_sealed", "verify_files", "write_sealed"]

_SEAL = "seal_sha256"


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return ``{name: {"sha256": hexadecimal, "size_bytes": integer}}`` for files in ``folder``.

    Args:
        folder: the folder of the files.
        names: paths relative to ``folder``, with forward slashes.
    """
    return {
        name: {"sha256": files.sha256(folder / name), "size_bytes": (folder / name).stat().st_size}
        for name in sorted(names)
    }


def verify_files(folder: Path, listed: Mapping[str, Any], *, remedy: str) -> None:
    """Check that every listed file exists with the size and digest that `describe_files` recorded.

    Args:
        folder: the folder of the files.
        listed: the result of `describe_files`.
        remedy: next step for the error message, such as ``Run `dvc repro train`.``

    Raises:
        IntegrityError: a file is missing, truncated, too long or altered, or a name points outside the folder.
    """
    for name, entry in listed.items():
        _verify_file(folder / _inside(folder, name), entry, remedy)


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON with its own digest, atomically.

    Raises:
        ValueError: ``content`` contains NaN or infinity, which JSON cannot express.
    """
    files.write_bytes(path, _sealed_bytes(content))


def read_sealed(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a file that `write_sealed` wrote, and return its content without the seal.

    Raises:
        IntegrityError: the file is missing, not JSON, or differs from the written bytes.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing. {remedy}") from None
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error}. {remedy}") from None
    return parse_sealed(text, path, remedy=remedy)


def parse_sealed(text: bytes, path: Path, *, remedy: str) -> dict[str, Any]:
    """Parse bytes that `write_sealed` wrote, and return the content without the seal.

    Args:
        text: the bytes of the file.
        path: path of the file, for error messages.
        remedy: next step for the error message.

    Raises:
        IntegrityError: the bytes are not JSON, or differ from the written ones.
    """
    # Untrusted JSON may be nested deeper than Python's stack.
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}. {remedy}") from None
    if not isinstance(content, dict) or _SEAL not in content:
        raise IntegrityError(f"{path} has no seal ({_SEAL}), so it was not written by Overwinter. {remedy}")
    del content[_SEAL]
    # Python's JSON parser accepts NaN and Infinity, which are never written: sealing them again raises ValueError.
    try:
        expected = _sealed_bytes(content)
    except (ValueError, RecursionError):
        expected = b""
    if text != expected:
        raise IntegrityError(f"{path} was altered after it was written: its seal does not match. {remedy}")
    return content


def check_size(path: Path, size_bytes: int, entry: Any, *, remedy: str) -> None:
    """Check that a file has its listed size, and that a digest is listed.

    Raises:
        IntegrityError: the size differs, or the entry lacks a size or a digest.
    """
    listed = entry if isinstance(entry, dict) else {}
    if type(listed.get("size_bytes")) is not int or not isinstance(listed.get("sha256"), str):
        raise IntegrityError(f"{path} is listed without a size and a digest. {remedy}")
    if size_bytes != entry["size_bytes"]:
        raise IntegrityError(f"{path} has {size_bytes} bytes instead of {entry['size_bytes']}. {remedy}")


def _sealed_bytes(content: Mapping[str, Any]) -> bytes:
    body = json.dumps(content, indent=2, allow_nan=False)
    seal = hashlib.sha256(body.encode()).hexdigest()
    return (json.dumps({**content, _SEAL: seal}, indent=2, allow_nan=False) + "\n").encode()


def _inside(folder: Path, name: str) -> str:
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise IntegrityError(f"{folder} lists the file {name!r}, which is not inside it. Don't use this folder.")
    return name


def _verify_file(path: Path, entry: Any, remedy: str) -> None:
    try:
        check_size(path, path.stat().st_size, entry, remedy=remedy)
        altered = files.sha256(path) != entry["sha256"]
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}. {remedy}") from None
    if altered:
        raise IntegrityError(f"{path} was altered: its SHA-256 is not {entry['sha256'][:12]}... {remedy}")
