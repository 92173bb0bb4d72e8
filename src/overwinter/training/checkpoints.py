"""The state of a fit on disk: safetensors and sealed JSON, never pickle.

A checkpoint is ``step-N.safetensors``, then ``step-N.json``, which lists the other's digest and is written
last: what has no JSON does not exist. The previous one is kept until the next is whole, and is what a
damaged one falls back to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from overwinter import files, manifest
from overwinter.errors import IntegrityError, OverwinterError

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one fit, in a folder of their own.

    Args:
        folder: made when the first is saved.
        purpose: JSON that says which fit it is; checkpoints of another one are not taken up.
    """

    def __init__(self, folder: Path, purpose: Mapping[str, Any]) -> None:
        self._folder = folder
        self._purpose = dict(purpose)

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
        """Save a checkpoint, whole or not at all, and drop the ones before the previous.

        Args:
            step: optimizer steps done.
            tensors: contiguous, none twice.
            progress: JSON: everything else that the fit needs to go on.

        Raises:
            OverwinterError: the disk is full or read-only.
        """
        name = f"step-{step:09d}"
        with files.replacing(self._folder / f"{name}.safetensors") as quarantined:
            _write_tensors(quarantined, tensors)
        content = {
            "purpose": self._purpose,
            "progress": dict(progress),
            "files": manifest.describe_files(self._folder, [f"{name}.safetensors"]),
        }
        manifest.write_sealed(self._folder / f"{name}.json", content)
        self._drop_all_but(self._folder / f"{name}.json")

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return tensors and progress of the newest whole checkpoint of this fit; None if there is none.

        A damaged one is quarantined as ``*.damaged``, with a warning, and the one before it is tried.
        """
        for path in self._found():
            try:
                content = manifest.read_sealed(path, remedy="It is quarantined.")
                manifest.verify_files(self._folder, content["files"], remedy="It is quarantined.")
                if content["purpose"] != self._purpose:
                    _log.warning("%s belongs to a fit with other settings and is not used.", path)
                    continue
                return load_file(path.with_suffix(".safetensors")), content["progress"]
            except (IntegrityError, SafetensorError, KeyError) as error:
                _log.warning("A checkpoint is damaged, an earlier one or the beginning is used: %s", error)
                self._quarantine(path)
        return None

    def _found(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.json"), reverse=True)

    def _drop_all_but(self, newest: Path) -> None:
        """Keep the newest and the one before it; later steps are another fit's."""
        previous = [path for path in self._found() if path < newest][:1]
        for outdated in set(self._found()) - {newest, *previous}:
            outdated.unlink()
            outdated.with_suffix(".safetensors").unlink(missing_ok=True)

    def _quarantine(self, path: Path) -> None:
        for part in (path, path.with_suffix(".safetensors")):
            if part.exists():
                part.replace(part.with_name(f"{part.name}.damaged"))


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        # safetensors wraps the operating system's error in text; the usual one is a full disk.
        raise OverwinterError(f"{path.parent} cannot be written: {error}. Is the disk full?") from error
