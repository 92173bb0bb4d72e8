"""The bundle: a folder with everything that a hibernated model needs to wake.

    bundle.json          sealed: what it is, digests of all other files, labels, preprocessing, lineage
    canary.safetensors   inputs, and the answers that the model gave when it was put to sleep
    payload/             what the runtime loads, for instance model.onnx

Files are 0600. Nothing is pickle, and no file may be in the folder that bundle.json does not list.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter import files, manifest
from overwinter.errors import IntegrityError, OverwinterError
from overwinter.serving.session import Array

SCHEMA = 1
PAYLOAD = "payload"
_BUNDLE = "bundle.json"
_CANARY = "canary.safetensors"
_MODE = 0o600
_REMEDY = "Don't use this bundle; make it again with `dvc repro hibernate`."
_KEYS: dict[str, Any] = {
    "form": str,
    "runtime": str,
    "input_shape": list,
    "labels": list,
    "preprocessing": dict,
    "canary_tolerance": float,
    "production_energy_j": float | None,
    "lineage": dict,
    "files": dict,
}


@dataclass(frozen=True, kw_only=True)
class Canary:
    """Recorded questions and answers.

    Attributes:
        inputs: model inputs (n, ...), float32.
        answers: logits (n, classes), float32.
        tolerance: largest allowed difference of a woken answer, relative to the largest recorded logit.
    """

    inputs: Array
    answers: Array
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: where it is.
        digest: SHA-256 of bundle.json, which lists all other digests: the bundle's name by content.
        form: ``dense``, ``sparse``, ``int8_static``, ...
        runtime: which runtime loads the payload.
        input_shape: of one model input, without the batch.
        labels: the name of each class.
        preprocessing: how raw input becomes model input; see `prepare`.
        canary: what is asked at every wake.
        production_energy_j: joules spent to make it, as its stages recorded them; None if unknown.
        lineage: digests of what it was made from.
        size_bytes: of all files.
    """

    folder: Path
    digest: str
    form: str
    runtime: str
    input_shape: tuple[int, ...]
    labels: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    canary: Canary
    production_energy_j: float | None
    lineage: Mapping[str, Any]
    size_bytes: int

    @property
    def payload(self) -> Path:
        """The folder that the runtime opens."""
        return self.folder / PAYLOAD


def write_bundle(
    folder: Path,
    *,
    payload: Path,
    form: str,
    runtime: str,
    input_shape: Sequence[int],
    labels: Sequence[str],
    preprocessing: Mapping[str, Any],
    canary: Canary,
    production_energy_j: float | None,
    lineage: Mapping[str, Any],
) -> Bundle:
    """Write a bundle aside and rename it into place; equal contents give equal bytes.

    Args:
        folder: the new bundle; an empty folder may be there already.
        payload: folder with the runtime's files.
        form: see `Bundle`, as for the other arguments.
        runtime: which runtime loads the payload.
        input_shape: of one model input.
        labels: the name of each class.
        preprocessing: how raw input becomes model input.
        canary: recorded questions and answers.
        production_energy_j: joules spent to make it.
        lineage: digests of what it was made from.

    Raises:
        OverwinterError: the folder holds something already, or cannot be written.
    """
    _refuse_occupied(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as parent:
        aside = Path(parent) / "bundle"
        aside.mkdir(mode=0o700)
        try:
            _copy_payload(payload, aside / PAYLOAD)
            _write_canary(aside / _CANARY, canary)
            content = {
                "schema": SCHEMA,
                "form": form,
                "runtime": runtime,
                "input_shape": list(input_shape),
                "labels": [str(label) for label in labels],
                "preprocessing": dict(preprocessing),
                "canary_tolerance": float(canary.tolerance),
                "production_energy_j": production_energy_j,
                "lineage": dict(lineage),
                "files": manifest.describe_files(aside, _names(aside)),
            }
            manifest.write_sealed(aside / _BUNDLE, content)
            (aside / _BUNDLE).chmod(_MODE)
            aside.replace(folder)
            files.sync(folder.parent)
        except OSError as error:
            raise files.write_error(folder, error) from error
    return read_bundle(folder)


def read_bundle(folder: Path) -> Bundle:
    """Verify every byte of a bundle and return what it says.

    Raises:
        IntegrityError: a file is missing, cut short, altered, not listed, or no plain file.
    """
    content = manifest.read_sealed(folder / _BUNDLE, remedy=_REMEDY)
    if content.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{folder} has the schema {content.get('schema')!r}; this Overwinter reads {SCHEMA}. {_REMEDY}"
        )
    wrong = [key for key, kind in _KEYS.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise IntegrityError(f"{folder / _BUNDLE} lacks {', '.join(wrong)}. {_REMEDY}")
    _refuse_unlisted(folder, content["files"])
    manifest.verify_files(folder, content["files"], remedy=_REMEDY)
    return Bundle(
        folder=folder,
        digest=files.sha256(folder / _BUNDLE),
        form=content["form"],
        runtime=content["runtime"],
        input_shape=tuple(content["input_shape"]),
        labels=tuple(content["labels"]),
        preprocessing=content["preprocessing"],
        canary=_read_canary(folder / _CANARY, content["canary_tolerance"]),
        production_energy_j=content["production_energy_j"],
        lineage=content["lineage"],
        size_bytes=sum((folder / name).stat().st_size for name in [*content["files"], _BUNDLE]),
    )


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OverwinterError(f"{folder} holds something already. Name a new folder, or remove it.")


def _copy_payload(payload: Path, target: Path) -> None:
    shutil.copytree(payload, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else _MODE)
        files.sync(path)


def _write_canary(path: Path, canary: Canary) -> None:
    from safetensors.numpy import save

    files.write_bytes(path, save({"inputs": canary.inputs, "answers": canary.answers}), _MODE)


def _read_canary(path: Path, tolerance: float) -> Canary:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(path.read_bytes())
        return Canary(inputs=arrays["inputs"], answers=arrays["answers"], tolerance=tolerance)
    except (SafetensorError, KeyError, OSError) as error:
        raise IntegrityError(f"{path} holds no canary: {error}. {_REMEDY}") from None


def _names(folder: Path) -> list[str]:
    """Names of all entries but folders, relative, with forward slashes."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    )


def _refuse_unlisted(folder: Path, listed: Mapping[str, Any]) -> None:
    found = set(_names(folder)) - {_BUNDLE}
    unlisted = sorted(found - set(listed))
    if unlisted:
        raise IntegrityError(f"{folder} holds files that bundle.json does not list: {', '.join(unlisted)}. {_REMEDY}")
    special = sorted(name for name in found | {_BUNDLE} if not stat.S_ISREG((folder / name).lstat().st_mode))
    if special:
        raise IntegrityError(f"{folder} holds links or devices, not plain files: {', '.join(special)}. {_REMEDY}")
