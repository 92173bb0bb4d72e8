"""Putting a model to sleep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError, OverwinterError
from overwinter.runtime import open_session
from overwinter.serving import Array, Bundle, Canary, check_preprocessing, write_bundle


def hibernate(
    bundle: Path,
    *,
    payload: Path,
    form: str,
    runtime: str,
    labels: Sequence[str],
    preprocessing: Mapping[str, Any],
    canary_inputs: Array,
    canary_tolerance: float,
    production_energy_j: float | None,
    lineage: Mapping[str, Any],
    trusted: Sequence[str] = (),
) -> Bundle:
    """Record the canary's answers and write the bundle.

    Args:
        bundle: folder of the new bundle.
        payload: what `overwinter.runtime.build` wrote for ``runtime``.
        form: ``dense``, ``sparse``, ``int8_static``, ...
        runtime: which runtime loads the payload.
        labels: the name of each class.
        preprocessing: how raw input becomes model input.
        canary_inputs: model inputs (n, ...), float32.
        canary_tolerance: largest allowed difference of a woken answer, relative to the largest recorded
            logit.
        production_energy_j: joules spent to make the model; None if unknown.
        lineage: digests of what it was made from.
        trusted: prefixes that the model's ``_target_`` may have, for runtimes that run its code.

    Raises:
        ConfigError: no canary input, or a preprocessing that a bundle cannot apply.
        OverwinterError: the model's answers are not finite.
    """
    if len(canary_inputs) == 0:
        raise ConfigError("hibernate.canary_samples must be at least 1: a wake is checked by them.")
    check_preprocessing(preprocessing)
    answers = open_session(payload, runtime, 1, trusted=trusted).run(canary_inputs)
    if not np.isfinite(answers).all():
        raise OverwinterError(f"The form {form!r} answers NaN or infinity on {runtime}, so it is not put to sleep.")
    return write_bundle(
        bundle,
        payload=payload,
        form=form,
        runtime=runtime,
        input_shape=canary_inputs.shape[1:],
        labels=labels,
        preprocessing=preprocessing,
        canary=Canary(inputs=canary_inputs, answers=answers, tolerance=canary_tolerance),
        production_energy_j=production_energy_j,
        lineage=lineage,
    )
