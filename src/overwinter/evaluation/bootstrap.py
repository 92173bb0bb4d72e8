"""Confidence intervals by the percentile bootstrap (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overwinter.errors import ConfigError

_RESAMPLES = 2000


def bootstrap_interval(values: Sequence[float], *, confidence: float, seed: int) -> tuple[float, float]:
    """Return the confidence interval of the median of the distribution of ``values``.

    Timings use the median, because disturbances only make them longer.

    Args:
        values: independent samples, at least one.
        confidence: confidence level, above 0 and below 1.
        seed: seed of the resampling.
    """
    if not values:
        raise ConfigError("An interval needs at least one sample. Raise evaluate.repeats.")
    samples = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    drawn = samples[generator.integers(len(samples), size=(_RESAMPLES, len(samples)))]  # (resamples, samples)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(np.median(drawn, axis=1), [tail, 1.0 - tail])
    return float(low), float(high)
