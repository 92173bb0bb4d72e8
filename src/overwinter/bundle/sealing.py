"""Encrypting a bundle at rest, and decrypting it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from overwinter import files
from overwinter.bundle.facts import BUNDLE, CANARY, SIGNATURE
from overwinter.bundle.keys import ANYTHING, Expected, Keys
from overwinter.bundle.reading import read_bundle
from overwinter.bundle.sealed import WrappingKey, seal
from overwinter.errors import OverwinterError

_FIRST = (BUNDLE, SIGNATURE, CANARY)


def seal_bundle(folder: Path, out: Path, keys: Sequence[WrappingKey], *, expected: Expected = ANYTHING) -> None:
    """Verify a bundle and encrypt the verified bytes into one file (0600), including its signature.

    Args:
        folder: an unencrypted bundle; it is not changed.
        out: the sealed file; an existing one is replaced.
        keys: keys, any of which opens the file.
        expected: expected digest and lineage.

    Raises:
        IntegrityError: the bundle is damaged, or another one than expected.
        ConfigError: there is no key.
    """
    bundle = read_bundle(folder, expected=expected)
    names = sorted(bundle.names, key=lambda name: (name not in _FIRST, name))
    seal({name: bundle.folder / name for name in names}, out, keys)
    bundle.release()


def open_bundle(sealed: Path, folder: Path, *, keys: Keys, expected: Expected = ANYTHING) -> None:
    """Verify a sealed bundle and write it unencrypted (0600), completely or not at all.

    Raises:
        IntegrityError: it was altered, no key opens it, no trusted key has signed it, or another one was expected.
        OverwinterError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise OverwinterError(f"{folder} exists already. Name a new folder, or remove it.")
    bundle = read_bundle(sealed, keys=keys, expected=expected)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as parent:
        staging = Path(parent) / "bundle"
        try:
            _copy(bundle.folder, staging)
            staging.replace(folder)
            files.sync(folder.parent)
        except OSError as error:
            raise files.write_error(folder, error) from error


def _copy(folder: Path, target: Path) -> None:
    """Copy a folder, readable by its owner only, and stop at the first error (`shutil.copytree` continues)."""
    target.mkdir(mode=0o700)
    for path in sorted(folder.iterdir()):
        copied = target / path.name
        if path.is_dir():
            _copy(path, copied)
        else:
            shutil.copyfile(path, copied)
            copied.chmod(0o600)
            files.sync(copied)
    files.sync(target)
