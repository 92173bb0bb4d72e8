"""Files to parts and back: what is there already is not carried again, so a transfer that was cut off goes on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import IntegrityError
from overwinter.serving.sealing.index import is_inside
from overwinter.serving.store.interface import Place

PART_BYTES = 8 << 20
MANIFEST_LIMIT_BYTES = 16 << 20
# Parts that no catalog names may belong to a publication under way; they are left alone for this long.
GRACE_S = 24 * 3600.0
_FILES_LIMIT = 4096


def part_name(digest: str) -> str:
    """Return where a part is kept."""
    return f"parts/{digest[:2]}/{digest}"


def send(place: Place, contents: Mapping[str, Path], *, sealed: bool) -> str:
    """Bring files into the store, part by part; return the digest of their manifest.

    Args:
        place: the store's.
        contents: files by name.
        sealed: whether it is one sealed file.
    """
    listed = {
        name: {"size_bytes": path.stat().st_size, "parts": [_put(place, piece) for piece in _pieces(path)]}
        for name, path in contents.items()
    }
    return _put(place, json.dumps({"sealed": sealed, "files": listed}).encode())


def parts_of(place: Place, manifest: str) -> set[str]:
    """Return the digests of all parts that a manifest stands for, its own included."""
    return {manifest}.union(*(entry["parts"] for entry in _manifest(place, manifest)["files"].values()))


def receive(place: Place, manifest: str, target: Path) -> None:
    """Bring a published bundle to ``target``: a folder, or a file if it is sealed; nothing if it is there.

    Raises:
        IntegrityError: a part is missing or altered, or a name leads outside.
        OverwinterError: the disk is full, or the place cannot be reached; the next call goes on from there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if target.exists():
            return
        content = _manifest(place, manifest)
        aside = target.with_name(f"{target.name}.partial")
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            for name, entry in content["files"].items():
                _receive_file(place, entry, aside / name)
            source = aside / next(iter(content["files"])) if content["sealed"] else aside
            source.replace(target)
            if content["sealed"]:
                aside.rmdir()
            files.sync(target.parent)
        except OSError as error:
            raise files.write_error(target, error) from error


def _put(place: Place, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    age_s = place.age_s(part_name(digest))
    if age_s is None or age_s > GRACE_S / 2:  # an old one may be about to be collected: make it young
        place.write(part_name(digest), content)
    return digest


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(PART_BYTES):
            yield piece


def _get(place: Place, digest: str, limit_bytes: int) -> bytes:
    content = place.read(part_name(digest), limit_bytes)
    if hashlib.sha256(content).hexdigest() != digest:
        raise IntegrityError(
            f"The part {digest[:12]}... of the store was altered. Remove it and publish the bundle again."
        )
    return content


def _manifest(place: Place, digest: str) -> dict[str, Any]:
    try:
        content = json.loads(_get(place, digest, MANIFEST_LIMIT_BYTES))
        listed = content["files"]
        sound = type(content["sealed"]) is bool and 0 < len(listed) <= _FILES_LIMIT
        sound = sound and (len(listed) == 1 or not content["sealed"])
        sound = sound and all(is_inside(name) and _is_entry(entry) for name, entry in listed.items())
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise IntegrityError(f"The manifest {digest[:12]}... of the store is none. Don't use this store.")
    checked: dict[str, Any] = content
    return checked


def _is_entry(entry: Any) -> bool:
    size_bytes, parts = entry["size_bytes"], entry["parts"]
    whole = type(size_bytes) is int and isinstance(parts, list) and len(parts) == -(-size_bytes // PART_BYTES)
    return whole and all(isinstance(part, str) and len(part) == 64 and part.isalnum() for part in parts)


def _receive_file(place: Place, entry: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "r+b") as stream:
        for number, digest in enumerate(entry["parts"]):
            begin = number * PART_BYTES
            size_bytes = min(PART_BYTES, entry["size_bytes"] - begin)
            stream.seek(begin)
            if hashlib.sha256(stream.read(size_bytes)).hexdigest() != digest:
                stream.seek(begin)
                stream.write(_get(place, digest, size_bytes))
        stream.truncate(entry["size_bytes"])
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep other processes from receiving the same bundle at the same time."""
    with target.with_name(f"{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
