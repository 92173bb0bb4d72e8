"""Hibernating a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from overwinter.bundle.facts import Bundle, BundleFacts, Canary, tokenizer_in
from overwinter.bundle.open_model import open_model
from overwinter.bundle.writing import write_bundle
from overwinter.data import check_preprocessing
from overwinter.errors import ConfigError, OverwinterError
from overwinter.runtime import Array


def hibernate(
    bundle: Path,
    *,
    payload: Path,
    facts: BundleFacts,
    canary_inputs: Array,
    canary_tolerance: float,
    extras: Path | None = None,
    trusted: Sequence[str] = (),
) -> Bundle:
    """Record the canary's outputs and write the bundle.

    Args:
        bundle: folder of the new bundle.
        payload: folder that `overwinter.runtime.build` wrote for the runtime.
        facts: metadata of the bundle.
        canary_inputs: model inputs (n, ...); for a language model, tokens (n, length), int64.
        canary_tolerance: largest allowed difference of a woken output, relative to the largest recorded
            logit.
        extras: folder with further files of the model; a language model's tokenizer is in its subfolder
            ``tokenizer``.
        trusted: packages whose classes the model's ``_target_`` may name, for runtimes that run its code.

    Raises:
        ConfigError: there is no canary input, or a bundle cannot apply the preprocessing.
        OverwinterError: the model's outputs are not finite.
    """
    if len(canary_inputs) == 0:
        raise ConfigError("hibernate.canary_samples must be at least 1: every wake is checked with them.")
    language = tokenizer_in(extras) is not None
    if not language:  # a language model's input is prepared by its tokenizer
        check_preprocessing(facts.preprocessing)
    model = open_model(payload, facts.runtime, 1, language=language, trusted=trusted, device=facts.device)
    outputs = model.run(canary_inputs)
    if not np.isfinite(outputs).all():
        raise OverwinterError(
            f"The variant {facts.variant!r} outputs NaN or infinity on {facts.runtime}, so it is not put to sleep."
        )
    canary = Canary(inputs=canary_inputs, outputs=outputs, tolerance=canary_tolerance)
    return write_bundle(bundle, payload=payload, facts=facts, canary=canary, extras=extras)
