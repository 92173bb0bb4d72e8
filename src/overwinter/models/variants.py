"""Variants of a model: the outputs of the stages before evaluate, found by name.

A stage writes one model to its folder, or several: one subfolder per variant, and their list, `variants.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter import manifest
from overwinter.errors import IntegrityError
from overwinter.models.description import DESCRIPTION, already_verified, load_description

_LIST = "variants.json"


def write_variants(folder: Path, names: Sequence[str]) -> None:
    """Write the list of the variants in ``folder``; it may be empty."""
    manifest.write_sealed(folder / _LIST, {"schema": 1, "variants": list(names)})


def find_variants(models: Mapping[str, Path]) -> dict[str, Path]:
    """Return variant -> its folder, in the order of the stages.

    A stage with the same model as an earlier one, such as one that removed nothing, adds no variant.

    Args:
        models: stage -> its folder `model/`; STAGE/OUT -> another folder of its variants.

    Raises:
        IntegrityError: a list or a description is missing or altered, a listed folder is missing, or two stages wrote
            different models under one name.
    """
    variants: dict[str, Path] = {}
    for stage, folder in models.items():
        for name, found in _variants_of(folder, stage).items():
            earlier = variants.setdefault(name, found)
            if earlier != found and _files(earlier) != _files(found):
                raise IntegrityError(
                    f"The stage {_stage(stage)} wrote a variant {name!r} to {found}, and another one is in {earlier}. "
                    "Save it under another name: save_model(variant=...)."
                )
    return variants


def _variants_of(folder: Path, stage: str) -> dict[str, Path]:
    if (folder / DESCRIPTION).exists():
        return {_description(folder)["variant"]: folder}
    remedy = f"Run `dvc repro {_stage(stage)}`."
    names = manifest.read_sealed(folder / _LIST, remedy=remedy).get("variants")
    if not isinstance(names, list):
        raise IntegrityError(f"{folder / _LIST} lists no variants. {remedy}")
    folders = {str(name): folder / str(name) for name in names}
    for name, path in folders.items():
        if not path.is_dir():
            raise IntegrityError(f"{path}, which {_LIST} lists as the variant {name!r}, is missing. {remedy}")
    return folders


def _stage(source: str) -> str:
    return source.partition("/")[0]


def _files(folder: Path) -> Any:
    return _description(folder)["files"]


def _description(folder: Path) -> dict[str, Any]:
    with already_verified(folder):  # loading digests the files
        return load_description(folder)
