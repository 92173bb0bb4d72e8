"""Writing a bundle: staged, flushed, renamed into place."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from overwinter import files, manifest
from overwinter.bundle.canary_file import canary_bytes
from overwinter.bundle.contents import Contents, list_files, threads_here
from overwinter.bundle.facts import BUNDLE, CANARY, EXTRAS, PAYLOAD, Bundle, BundleFacts, Canary, facts_to_json
from overwinter.bundle.folder import FolderSource
from overwinter.bundle.reading import read_bundle
from overwinter.errors import OverwinterError

_MODE, _FOLDER_MODE = 0o600, 0o700


def write_bundle(
    folder: Path, *, payload: Path, facts: BundleFacts, canary: Canary, extras: Path | None = None
) -> Bundle:
    """Write a bundle to a staging folder and rename it into place; equal contents give equal bytes.

    Args:
        folder: folder of the new bundle; it may exist if it is empty.
        payload: folder with the runtime's files.
        facts: metadata of the bundle.
        canary: recorded inputs and outputs.
        extras: folder with further files of the model, such as a tokenizer.

    Raises:
        OverwinterError: the folder is not empty, or cannot be written.
    """
    _refuse_occupied(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as parent:
        staging = Path(parent) / "bundle"
        staging.mkdir(mode=_FOLDER_MODE)
        try:
            _fill(staging, payload, facts, canary, extras)
            staging.replace(folder)
            files.sync(folder.parent)
        except OSError as error:
            raise files.write_error(folder, error) from error
    return read_bundle(folder, hold=False)


def _fill(folder: Path, payload: Path, facts: BundleFacts, canary: Canary, extras: Path | None) -> None:
    _copy_private(payload, folder / PAYLOAD)
    if extras is not None:
        _copy_private(extras, folder / EXTRAS)
    files.write_bytes(folder / CANARY, canary_bytes(canary), _MODE)
    listed = list_files(Contents(FolderSource(folder), threads_here()))
    manifest.write_sealed(folder / BUNDLE, facts_to_json(facts, canary.tolerance, listed))
    (folder / BUNDLE).chmod(_MODE)


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OverwinterError(f"{folder} is not empty. Name a new folder, or remove it.")


def _copy_private(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(_FOLDER_MODE if path.is_dir() else _MODE)
        files.sync(path)
