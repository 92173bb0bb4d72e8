"""A folder of files that can prove it is whole: a sealed JSON that lists the digest and size of every file.

The JSON is *sealed*: it carries the digest of its own content, and only the very bytes that `write_sealed`
makes are accepted back, so that one altered byte anywhere in the folder is found before it is used.
A seal finds damage, not malice: who can rewrite the folder can seal it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from overwinter import files
from overwinter.errors import IntegrityError

__all__ = ["describe_files", "read_sealed", "verify_files", "write_sealed"]

_SEAL = "seal_sha256"


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return ``{name: {"sha256": hexadecimal, "size_bytes": integer}}`` of files in ``folder``.

    Args:
        folder: where the files are.
        names: paths relative to ``folder``, with forward slashes.
    """
    return {
        name: {"sha256": files.sha256(folder / name), "size_bytes": (folder / name).stat().st_size}
        for name in sorted(names)
    }


def verify_files(folder: Path, listed: Mapping[str, Any], *, remedy: str) -> None:
    """Check that every listed file is there, with the very bytes that `describe_files` saw.

    Args:
        folder: where the files are.
        listed: what `describe_files` returned.
        remedy: what the reader of the error should do, for instance ``Run `dvc repro train`.``

    Raises:
        IntegrityError: a file is missing, cut short, too long or altered, or a name leads out of the folder.
    """
    for name, entry in listed.items():
        _verify_file(folder / _inside(folder, name), entry, remedy)


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON with its own digest, whole or not at all.

    Raises:
        ValueError: ``content`` holds a NaN or an infinity, which JSON has no word for.
    """
    files.write_bytes(path, _sealed_bytes(content))


def read_sealed(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read back what `write_sealed` wrote, without the seal.

    Raises:
        IntegrityError: the file is missing, not JSON, or not byte for byte what was written.
    """
    content = files.read_json(path, remedy=remedy)
    if not isinstance(content, dict) or _SEAL not in content:
        raise IntegrityError(f"{path} has no seal ({_SEAL}), so it was not written by Overwinter. {remedy}")
    del content[_SEAL]
    # Python's JSON reads NaN and Infinity, which we never write: re-sealing such a file raises ValueError.
    try:
        expected = _sealed_bytes(content)
    except ValueError:
        expected = b""
    if path.read_bytes() != expected:
        raise IntegrityError(f"{path} was altered after it was written: its seal does not fit. {remedy}")
    return content


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
        expected_bytes, expected_sha256 = int(entry["size_bytes"]), str(entry["sha256"])
    except (KeyError, TypeError, ValueError):
        raise IntegrityError(f"{path} is listed without a size and a digest. {remedy}") from None
    try:
        size_bytes = path.stat().st_size
        altered = size_bytes == expected_bytes and files.sha256(path) != expected_sha256
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}. {remedy}") from None
    if size_bytes != expected_bytes:
        raise IntegrityError(f"{path} has {size_bytes} bytes instead of {expected_bytes}. {remedy}")
    if altered:
        raise IntegrityError(f"{path} was altered: its SHA-256 is not {expected_sha256[:12]}... {remedy}")
