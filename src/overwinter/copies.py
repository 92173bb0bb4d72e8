"""Local copies of what is at fsspec addresses, kept by version in `~/.cache/overwinter/data`, verified before use."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from overwinter import files
from overwinter.errors import IntegrityError
from overwinter.manifest import describe_files, read_sealed, verify_files, write_sealed
from overwinter.paths import local_path
from overwinter.remote import fetch, is_remote, versions

_FILES, _LISTED = "files", "files.json"
_LOCAL = "file://"
_REMEDY = "It is fetched again."


def local_copy(place: str, *, key: str) -> Path:
    """Return the path of a file or folder: ``place`` itself, or a verified copy of what is at an fsspec address.

    What is at the address is fetched once per version: other names, sizes or ETags are another version. Everything in
    the copy has the SHA-256 that it had when it was fetched, or is fetched again.

    Args:
        place: A path, ``package:NAME/PATH``, or an address such as ``s3://bucket/folder``.
        key: Configuration key, for error messages.

    Raises:
        ConfigError: It does not exist, its driver is not installed, or it may not be read.
        IntegrityError: It changed while it was fetched.
        OverwinterError: It cannot be reached, or the disk is full.
    """
    if not is_remote(place) or place.startswith(_LOCAL):
        return local_path(place.removeprefix(_LOCAL), key=key)
    kept = _folder() / files.digest(versions([place], key=key))
    with contextlib.suppress(IntegrityError):
        return _verified(kept)
    _fetch(place, kept, key)
    return _verified(kept)


def _fetch(place: str, kept: Path, key: str) -> None:
    """Fetch into a folder of its own, which becomes ``kept`` at once: another process may do the same."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=kept.parent) as name:
            made = Path(name, "made")
            inside = made / _FILES
            inside.mkdir(parents=True)
            path = fetch(place, inside, key=key)
            names = [each.relative_to(inside).as_posix() for each in inside.rglob("*") if each.is_file()]
            single = "" if path == inside else path.name
            write_sealed(made / _LISTED, {"place": place, "single": single, "files": describe_files(inside, names)})
            _replace(kept, made)
    except OSError as error:
        raise files.write_error(kept, error) from error


def _replace(kept: Path, made: Path) -> None:
    if kept.exists():
        try:
            _verified(kept)
        except IntegrityError:
            shutil.rmtree(kept, ignore_errors=True)
        else:
            return
    with contextlib.suppress(FileExistsError):
        made.rename(kept)


def _verified(kept: Path) -> Path:
    """Return the path of the copied file or folder.

    Raises:
        IntegrityError: A file is missing or altered.
    """
    listed = read_sealed(kept / _LISTED, remedy=_REMEDY)
    verify_files(kept / _FILES, listed["files"], remedy=_REMEDY)
    return kept / _FILES / listed["single"] if listed["single"] else kept / _FILES


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "overwinter" / "data"
