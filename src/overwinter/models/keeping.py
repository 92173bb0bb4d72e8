"""Keeping the GGUF file that a model came in, as the variants of `given`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.config.targets import PRETRAINED_TARGETS
from overwinter.errors import ConfigError
from overwinter.models.gguf_integers import read_integers
from overwinter.models.given import AS_GIVEN, INPUT_FILE, save_given
from overwinter.models.local_files import GGUF, model_path
from overwinter.models.variants import write_variants
from overwinter.signature import Signature


def given_file(model_config: Mapping[str, Any]) -> Path | None:
    """Return the GGUF file that the group `model` names, or None if it names something else."""
    root = model_config.get("root")
    if model_config.get("_target_") not in PRETRAINED_TARGETS or not str(root).endswith(GGUF):
        return None
    return model_path(root)


def write_given(
    folder: Path,
    gguf_path: Path | None,
    *,
    model_config: Mapping[str, Any],
    signature: Signature,
    lineage: Mapping[str, Any],
) -> list[str]:
    """Write the variants of a GGUF file and their list, for `find_variants`; no file gives an empty list.

    Returns:
        What is left out and why, in words.
    """
    names, notes = [] if gguf_path is None else [INPUT_FILE], []
    if gguf_path is not None:
        try:
            names += [AS_GIVEN] if read_integers(gguf_path) else []
        except ConfigError as error:
            notes.append(f"{AS_GIVEN} is left out: {error}")
        for name in names:
            save_given(
                folder / name,
                gguf_path,
                variant=name,
                model_config=model_config,
                signature=signature,
                lineage=lineage,
            )
    write_variants(folder, names)
    return notes
