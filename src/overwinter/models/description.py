"""``model.json``: the description of a saved model. Reading and verifying it needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from overwinter import manifest
from overwinter.errors import IntegrityError
from overwinter.signature import Signature

SCHEMA = 1
DESCRIPTION = "model.json"
_VERIFIED: ContextVar[Path | None] = ContextVar("_VERIFIED", default=None)
_OWN: ContextVar[bool] = ContextVar("_OWN", default=False)
_KEYS = {
    "schema": int,
    "variant": str,
    "model": dict,
    "signature": dict,
    "parameters": int,
    "sparsity": float,
    "tensors": dict,
    "output": str | None,
    "quantization": dict | None,
    "files": dict,
    "lineage": dict,
}


def write_description(
    folder: Path,
    *,
    variant: str,
    model_config: Mapping[str, Any],
    signature: Signature,
    parameters: int,
    sparsity: float,
    tensors: Mapping[str, Mapping[str, Any]],
    files: list[str],
    lineage: Mapping[str, Any],
    output: str | None = None,
    quantization: Mapping[str, Any] | None = None,
    quantization_aware: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe the files already written to ``folder`` in a sealed ``model.json``; return its content.

    It does not depend on time or place, so identical models have identical bytes.

    Args:
        folder: the saved model's folder.
        variant: ``dense``, ``sparse``, ``int8_static``, ...
        model_config: ``_target_`` and arguments, as in the configuration.
        signature: its inputs and outputs.
        parameters: The number of parameters.
        sparsity: share of zeros among the prunable weights, counted.
        tensors: name -> ``shape``, ``dtype``, ``nonzero`` (the number of nonzero entries).
        files: names of the other files in ``folder``.
        lineage: digests of the inputs.
        output: which output of forward() counts; see `adapt`.
        quantization: description of the quantization; None if the model is not quantized.
        quantization_aware: the grids that a float model was trained for; None if there are none, and then no key.
    """
    description = {
        "schema": SCHEMA,
        "variant": variant,
        "model": dict(model_config),
        "signature": signature.to_json(),
        "output": output,
        "parameters": parameters,
        "sparsity": float(sparsity),
        "tensors": {name: dict(entry) for name, entry in tensors.items()},
        "quantization": None if quantization is None else dict(quantization),
        "files": manifest.describe_files(folder, files),
        "lineage": dict(lineage),
    }
    if quantization_aware is not None:
        description["quantization_aware"] = dict(quantization_aware)
    manifest.write_sealed(folder / DESCRIPTION, description)
    return description


def stored_bytes(description: Mapping[str, Any]) -> int:
    """Return the size on disk of a saved model's files, without ``model.json``."""
    return sum(entry["size_bytes"] for entry in description["files"].values())


def load_description(folder: Path) -> dict[str, Any]:
    """Return ``model.json`` of a saved model, after verifying it and every file that it lists.

    Raises:
        IntegrityError: a file is missing, truncated or altered, or was written by a newer Overwinter.
    """
    remedy = "Run the stage that makes this model again (`dvc repro`)."
    description = manifest.read_sealed(folder / DESCRIPTION, remedy=remedy)
    schema = description.get("schema")
    if schema != SCHEMA:
        raise IntegrityError(f"{folder / DESCRIPTION} has schema {schema!r}; this Overwinter reads {SCHEMA}. {remedy}")
    if "signature" not in description and isinstance(description.get("input_shape"), list):
        # Saved before models had signatures: one tensor of floats.
        description |= {"signature": Signature.of_one(description["input_shape"]).to_json(), "output": None}
    wrong = [key for key, kind in _KEYS.items() if not isinstance(description.get(key), kind)]
    if wrong:
        raise IntegrityError(f"{folder / DESCRIPTION} lacks {', '.join(wrong)}. {remedy}")
    if folder != _VERIFIED.get():
        manifest.verify_files(folder, description["files"], remedy=remedy)
    return description


def is_language_model(description: Mapping[str, Any]) -> bool:
    """Return whether a saved model generates text step by step."""
    return bool(description["model"].get("_target_") == "overwinter.models.CausalLanguageModel")


def signature_of(description: Mapping[str, Any]) -> Signature:
    """Return the inputs and outputs that a ``model.json`` names.

    Raises:
        IntegrityError: they are malformed.
    """
    try:
        return Signature.from_json(description["signature"])
    except ValueError as error:
        raise IntegrityError(f"{DESCRIPTION} has a malformed signature: {error}. Run the stage again.") from None


@contextlib.contextmanager
def already_verified(folder: Path) -> Iterator[None]:
    """Skip, within the context, digesting the files of this saved model, which were verified with their bundle.

    Every loading step reads the description; for large weights, each digest would take longer than loading them.
    """
    token = _VERIFIED.set(folder)
    try:
        yield
    finally:
        _VERIFIED.reset(token)


@contextlib.contextmanager
def own_models(own: bool = True) -> Iterator[None]:
    """Treat saved models, within the context, as made by the user's own configuration, which may name functions.

    Other saved models, and those in bundles, may name only classes, so that waking one calls no function that its
    author chose.

    Args:
        own: False for models that may be untrusted after all.
    """
    token = _OWN.set(own)
    try:
        yield
    finally:
        _OWN.reset(token)


def are_own() -> bool:
    """Return whether saved models are the user's own; see `own_models`."""
    return _OWN.get()
