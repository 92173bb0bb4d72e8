"""Metadata of a bundle, and its encoding in bundle.json."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.bundle.raw_samples import Raw
from overwinter.canary import MAX_TOLERANCE
from overwinter.inputs import Array, Inputs
from overwinter.signature import Signature

if TYPE_CHECKING:
    from overwinter.bundle.private import PrivateFiles

SCHEMA = 2
OLDER = 1  # one float32 input, a classifier or a language model, no raw samples; still read
BUNDLE, SIGNATURE, CANARY = "bundle.json", "signature.json", "canary.safetensors"
PAYLOAD, EXTRAS, TOKENIZER = "payload", "extras", "tokenizer"
TOKENIZER_FILE = "tokenizer.json"
CLASSIFICATION, LANGUAGE_MODELING, EMBEDDINGS = "classification", "language_modeling", "embeddings"
# Left out of bundle.json when None, so that bundles without these keys keep their bytes.
_OPTIONAL = ("device", "licence", "notes")


@dataclass(frozen=True, kw_only=True)
class Canary:
    """Recorded inputs and outputs.

    Attributes:
        inputs: model inputs, one array (n, ...) or several by name; for a language model, tokens of some text
            (n, length), int64.
        outputs: (n, ...), float32; for a language model, logits of the next token (n, vocabulary).
        tolerance: largest allowed difference of a woken output, relative to the largest recorded one; at most
            `overwinter.canary.MAX_TOLERANCE`.
        raw: the same n samples before preprocessing; None if there is no preprocessing, or an older Overwinter made
            the bundle. With both, a wake tells a wrong preprocessing from a wrong model.
    """

    inputs: Inputs
    outputs: Array
    tolerance: float
    raw: Raw | None = None


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """Metadata of a bundle.

    Attributes:
        variant: ``dense``, ``sparse``, ``int8_static``, ...
        runtime: name of the runtime that loads the payload.
        signature: names, dtypes and shapes of the model's inputs and of its output.
        labels: the name of each class or output; may be empty.
        preprocessing: conversion of raw input to model input; see `overwinter.data.open_preprocessing`.
        production_energy_j: joules spent to make the bundle, as its stages recorded them; None if unknown.
        lineage: digests of the inputs, and the version of the code.
        licence: licence of the model, such as ``Apache-2.0``; None if not declared.
        notes: notes for users of the bundle.
        device: kind of device on which it was measured and runs: ``cuda``; None: the CPU.
        task: the settings of the group `task/` that turn outputs into responses: its ``name`` or ``_target_``, ...
    """

    variant: str
    runtime: str
    signature: Signature
    labels: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    production_energy_j: float | None
    lineage: Mapping[str, Any]
    licence: str | None = None
    notes: str | None = None
    device: str | None = None
    task: Mapping[str, Any] = field(default_factory=lambda: {"name": CLASSIFICATION})

    @property
    def generates(self) -> bool:
        """Whether a response is generated text: it is a language model, served step by step."""
        return self.task.get("name") == LANGUAGE_MODELING

    @property
    def embeds(self) -> bool:
        """Whether its outputs are embeddings of texts."""
        return self.task.get("name") == EMBEDDINGS and self.preprocessing.get("kind") == "text"


@dataclass(frozen=True, kw_only=True)
class Bundle(BundleFacts):
    """A verified bundle.

    Attributes:
        source: the folder or the sealed file that was read.
        folder: folder of the verified files: `PrivateFiles`, removed together with the bundle. If the files were not
            held, the source itself, whose files may have changed since.
        names: names of its files, relative, with forward slashes.
        digest: SHA-256 of bundle.json, which lists all other digests, so it identifies the bundle by content.
        canary: inputs and outputs compared at every wake.
        size_bytes: size of all files, unencrypted.
        signed_by: ids of the trusted keys with verified signatures; empty if no key was required.
        sealed: whether it was encrypted at rest.
    """

    source: Path
    folder: Path
    names: frozenset[str]
    digest: str
    canary: Canary
    size_bytes: int
    signed_by: tuple[str, ...]
    sealed: bool
    _held: PrivateFiles | None = field(default=None, repr=False, compare=False)

    @property
    def payload(self) -> Path:
        """Folder that the runtime opens."""
        return self.folder / PAYLOAD

    @property
    def extras(self) -> Path:
        """Folder of files that users need but the runtime does not, such as a tokenizer; it may be absent."""
        return self.folder / EXTRAS

    @property
    def tokenizer(self) -> Path | None:
        """Folder with tokenizer.json, of a model of text; None for any other model."""
        return self.extras / TOKENIZER if f"{EXTRAS}/{TOKENIZER}/{TOKENIZER_FILE}" in self.names else None

    def release(self, below: str = "") -> None:
        """Free the memory of its files after loading; mapped files stay until they are unmapped.

        Args:
            below: the folder to free, such as `payload`; if empty, all of them.
        """
        if self._held is not None:
            self._held.release(below)


def facts_to_json(facts: BundleFacts, tolerance: float, listed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of bundle.json."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "variant": facts.variant,
        "runtime": facts.runtime,
        "task": dict(facts.task),
        "signature": facts.signature.to_json(),
        "labels": list(facts.labels),
        "preprocessing": dict(facts.preprocessing),
        "canary_tolerance": float(tolerance),
        "production_energy_j": facts.production_energy_j,
        "lineage": dict(facts.lineage),
    }
    content |= {key: getattr(facts, key) for key in _OPTIONAL if getattr(facts, key) is not None}
    return content | {"files": dict(listed)}


def upgraded(content: Mapping[str, Any], names: Container[str]) -> Mapping[str, Any]:
    """Return the content of bundle.json in the present schema, if an older Overwinter wrote it.

    Args:
        content: an older one says `input_shape`, and was a language model's if the bundle has a tokenizer.
        names: names of the bundle's files.
    """
    newer = content.keys() & {"signature", "task"}
    if content.get("schema") != OLDER or newer or not _is_list(content.get("input_shape"), int):
        return content
    language = f"{EXTRAS}/{TOKENIZER}/{TOKENIZER_FILE}" in names
    shape = [None] if language else content["input_shape"]
    signature = Signature.of_one(shape, dtype="int64" if language else "float32")
    task = {"name": LANGUAGE_MODELING if language else CLASSIFICATION}
    kept = {key: value for key, value in content.items() if key != "input_shape"}
    return {**kept, "schema": SCHEMA, "signature": signature.to_json(), "task": task}


def wrong_keys(content: Mapping[str, Any]) -> list[str]:
    """Return the keys of bundle.json that are missing, malformed or unknown."""
    checks: dict[str, Callable[[Any], bool]] = {
        "schema": lambda value: value == SCHEMA,
        "variant": lambda value: isinstance(value, str),
        "runtime": lambda value: isinstance(value, str),
        "task": _is_task,
        "signature": _is_signature,
        "labels": lambda value: _is_list(value, str),
        "preprocessing": _is_preprocessing,
        "canary_tolerance": lambda value: isinstance(value, float) and 0 <= value <= MAX_TOLERANCE,
        "production_energy_j": lambda value: isinstance(value, float | None),
        "lineage": lambda value: isinstance(value, dict),
        "files": lambda value: isinstance(value, dict),
    }
    wrong = [key for key, fits in checks.items() if not fits(content.get(key))]
    wrong += [key for key in _OPTIONAL if not isinstance(content.get(key, ""), str)]
    return wrong + sorted(set(content) - set(checks) - set(_OPTIONAL))


def facts_from(content: Mapping[str, Any]) -> BundleFacts:
    """Return the metadata in bundle.json, after `wrong_keys` returned no key."""
    return BundleFacts(
        variant=content["variant"],
        runtime=content["runtime"],
        signature=Signature.from_json(content["signature"]),
        labels=tuple(content["labels"]),
        preprocessing=content["preprocessing"],
        production_energy_j=content["production_energy_j"],
        lineage=content["lineage"],
        licence=content.get("licence"),
        notes=content.get("notes"),
        device=content.get("device"),
        task=content["task"],
    )


def _is_task(value: Any) -> bool:
    """Return whether a task is named; opening it checks its settings."""
    return isinstance(value, dict) and isinstance(value.get("name", value.get("_target_")), str)


def _is_signature(value: Any) -> bool:
    try:
        Signature.from_json(value)
    except ValueError:
        return False
    return True


def _is_preprocessing(value: Any) -> bool:
    """Return whether the description of raw inputs has the right types; opening it checks that it can be applied."""
    raw = value.get("raw", {}) if isinstance(value, dict) else None
    if not isinstance(raw, dict) or not all(
        isinstance(text, str) for text in (raw.get("dtype", ""), value.get("kind", ""))
    ):
        return False
    shape = raw.get("shape")
    return shape is None or (_is_list(shape, int) and all(side >= 0 for side in shape))


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)
