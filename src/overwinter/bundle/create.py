"""Hibernating a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.bundle.facts import Bundle, BundleFacts, Canary
from overwinter.bundle.fitting import with_output
from overwinter.bundle.open_model import open_model
from overwinter.bundle.raw_samples import Raw, as_raw
from overwinter.bundle.surroundings import difference, open_preprocessing, open_task
from overwinter.bundle.writing import write_bundle
from overwinter.data import Normalize, Preprocessing
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import Inputs, count


def hibernate(
    bundle: Path,
    *,
    payload: Path,
    facts: BundleFacts,
    canary_inputs: Inputs,
    canary_tolerance: float,
    canary_raw: Raw | Sequence[Any] | None = None,
    extras: Path | None = None,
    trusted: Sequence[str] = (),
) -> Bundle:
    """Record the canary's outputs and write the bundle.

    Args:
        bundle: folder of the new bundle.
        payload: folder that `overwinter.runtime.build` wrote for the runtime.
        facts: metadata of the bundle.
        canary_inputs: model inputs (n, ...), or several by name; for a language model, tokens (n, length), int64.
        canary_tolerance: largest allowed difference of a woken output, relative to the largest recorded
            output.
        canary_raw: the same samples before preprocessing: an array (n, ...), or n files, images or texts. None: those
            that `Normalize.undo` gives, or none.
        extras: folder with further files of the model; a tokenizer is in its subfolder ``tokenizer``.
        trusted: packages whose classes ``_target_`` of the model or the task may name.

    Raises:
        ConfigError: there is no canary input, a bundle cannot apply the preprocessing, or it makes other model inputs
            of the raw samples than the model was given.
        OverwinterError: the model's outputs are not finite.
    """
    if count(canary_inputs) == 0:
        raise ConfigError("hibernate.canary_samples must be at least 1: every wake is checked with them.")
    open_task(facts, trusted=trusted)
    preprocessing = open_preprocessing(facts, extras)
    model = open_model(payload, facts.runtime, 1, language=facts.generates, trusted=trusted, device=facts.device)
    outputs = model.run(canary_inputs)
    if not np.isfinite(outputs).all():
        raise OverwinterError(
            f"The variant {facts.variant!r} outputs NaN or infinity on {facts.runtime}, so it is not put to sleep."
        )
    raw = None if preprocessing is None else _raw(preprocessing, canary_raw, canary_inputs)
    canary = Canary(inputs=canary_inputs, outputs=outputs, tolerance=canary_tolerance, raw=raw)
    return write_bundle(bundle, payload=payload, facts=with_output(facts, canary), canary=canary, extras=extras)


def _raw(preprocessing: Preprocessing, given: Raw | Sequence[Any] | None, inputs: Inputs) -> Raw | None:
    """Return the canary's raw samples, of which the preprocessing makes the canary's inputs."""
    if given is None:
        if isinstance(preprocessing, Normalize) and isinstance(inputs, np.ndarray):
            return preprocessing.undo(inputs)
        return None
    raw = as_raw(given, preprocessing.kind)
    wrong = difference(preprocessing.prepare(raw), inputs)
    if wrong is not None:
        raise ConfigError(
            f"The preprocessing that the bundle would serve with is not the one of the data: {wrong}.\n"
            "Let the data source's `preprocessing` say what its samples went through."
        )
    return raw
