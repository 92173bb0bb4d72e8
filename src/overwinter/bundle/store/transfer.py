"""Transfer of files as parts; existing parts are skipped, so an interrupted transfer resumes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.bundle.facts import BUNDLE
from overwinter.bundle.keys import is_digest
from overwinter.bundle.store.interface import Storage
from overwinter.bundle.store.locking import exclusive
from overwinter.errors import ConfigError, IntegrityError
from overwinter.plain_files import is_inside

PART_BYTES = 8 << 20
MANIFEST_LIMIT_BYTES = 16 << 20
# Parts that are in no catalog may belong to a running publication; they are kept for this long.
GRACE_S = 24 * 3600.0
_FILES_LIMIT = 4096


def part_name(digest: str) -> str:
    """Return the name of a part in the store."""
    return f"parts/{digest[:2]}/{digest}"


def send(place: Storage, contents: Mapping[str, Path], *, sealed: bool) -> str:
    """Upload files to the store, part by part; return the digest of their manifest.

    Args:
        place: storage of the store.
        contents: files by name.
        sealed: whether it is one sealed file.
    """
    listed = {
        name: {"size_bytes": path.stat().st_size, "parts": [_put(place, piece) for piece in _pieces(path)]}
        for name, path in contents.items()
    }
    return _put(place, json.dumps({"sealed": sealed, "files": listed}).encode())


def parts_of(place: Storage, manifest: str) -> set[str]:
    """Return the digests of all parts in a manifest, including its own."""
    return {manifest}.union(*(entry["parts"] for entry in _manifest(place, manifest)["files"].values()))


def receive(place: Storage, manifest: str, target: Path, *, digest: str) -> None:
    """Download a published bundle to ``target``: a folder, or a file if it is sealed; skip it if it is complete.

    Raises:
        IntegrityError: a part is missing or altered, a name points outside, or the bundle has another digest.
        ConfigError: something else is at ``target``.
        OverwinterError: the disk is full, or the store cannot be reached; the next call resumes.
    """
    content = _manifest(place, manifest)
    if target.name in ("", ".."):
        raise ConfigError(f"{target} is not a valid name for a bundle. Name a path that does not exist yet.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(target):
            if _is_complete(content, target):
                _check_digest(target, digest)
            else:
                _receive_all(place, content, target, digest)
    except OSError as error:
        raise files.write_error(target, error) from error


def _receive_all(place: Storage, content: Mapping[str, Any], target: Path, digest: str) -> None:
    staging = target.with_name(f"{target.name}.partial")
    listed = {staging / name: entry for name, entry in content["files"].items()}
    if _files_in(staging) - set(listed):  # left over from another version
        shutil.rmtree(staging)
    staging.mkdir(mode=0o700, exist_ok=True)
    for path, entry in listed.items():
        _receive_file(place, entry, path)
    source = next(iter(listed)) if content["sealed"] else staging
    _check_digest(source, digest)
    source.replace(target)
    if content["sealed"]:
        staging.rmdir()
    files.sync(target.parent)


def _is_complete(content: Mapping[str, Any], target: Path) -> bool:
    """Return whether ``target`` holds exactly the bundle's files; False if it does not exist.

    Raises:
        ConfigError: it holds something else.
    """
    if not os.path.lexists(target):
        return False
    listed = {target if content["sealed"] else target / name: entry for name, entry in content["files"].items()}
    found = _files_in(target) if target.is_dir() else {target}
    if found == set(listed) and all(_is_whole(path, entry) for path, entry in listed.items()):
        return True
    raise ConfigError(f"{target} exists and is not this version. Remove it, or name another path.")


def _files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _is_whole(path: Path, entry: Mapping[str, Any]) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["size_bytes"]:
        return False
    digests: list[str] = entry["parts"]
    return [hashlib.sha256(piece).hexdigest() for piece in _pieces(path)] == digests


def _check_digest(bundle: Path, digest: str) -> None:
    named = bundle / BUNDLE if bundle.is_dir() else bundle
    found = files.sha256(named) if named.is_file() else "of no digest"
    if found != digest:
        raise IntegrityError(
            f"The store has the bundle {found[:12]}... where its catalog says {digest[:12]}... Don't use this store."
        )


def _put(place: Storage, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    age_s = place.age_s(part_name(digest))
    if age_s is None or age_s > GRACE_S / 2:  # an old part may be about to be collected: renew it
        place.write(part_name(digest), content)
    return digest


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(PART_BYTES):
            yield piece


def _get(place: Storage, digest: str, limit_bytes: int) -> bytes:
    content = place.read(part_name(digest), limit_bytes)
    if hashlib.sha256(content).hexdigest() != digest:
        raise IntegrityError(
            f"The part {digest[:12]}... of the store was altered. Remove it and publish the bundle again."
        )
    return content


def _manifest(place: Storage, digest: str) -> dict[str, Any]:
    try:
        content = json.loads(_get(place, digest, MANIFEST_LIMIT_BYTES))
        listed = content["files"]
        sound = type(content["sealed"]) is bool and 0 < len(listed) <= _FILES_LIMIT
        sound = sound and (len(listed) == 1 or not content["sealed"])
        sound = sound and all(is_inside(name) and _is_entry(entry) for name, entry in listed.items())
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise IntegrityError(f"The manifest {digest[:12]}... of the store is not valid. Don't use this store.")
    checked: dict[str, Any] = content
    return checked


def _is_entry(entry: Any) -> bool:
    size_bytes, parts = entry["size_bytes"], entry["parts"]
    whole = type(size_bytes) is int and isinstance(parts, list) and len(parts) == -(-size_bytes // PART_BYTES)
    return whole and all(map(is_digest, parts))


def _receive_file(place: Storage, entry: Mapping[str, Any], path: Path) -> None:
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
