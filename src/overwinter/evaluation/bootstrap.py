"""How sure a figure is: the percentile bootstrap (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from overwinter.errors import ConfigError

_RESAMPLES = 2000


def bootstrap_interval(
    values: Sequence[float], *, confidence: float, seed: int, statistic: Callable[..., Any] = np.median
) -> tuple[float, float]:
    """Return the interval that holds, with this confidence, the median of what ``values`` are drawn from.

    Medians of timings, because what disturbs one only ever makes it longer.

    Args:
        values: independent samples, at least one.
        confidence: above 0 and below 1.
        seed: of the resampling.
        statistic: `numpy.median` or `numpy.mean`.
    """
    if not values:
        raise ConfigError("An interval needs at least one sample. Raise evaluate.repeats.")
    samples = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    drawn = samples[generator.integers(len(samples), size=(_RESAMPLES, len(samples)))]  # (resamples, samples)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(statistic(drawn, axis=1), [tail, 1.0 - tail])
    return float(low), float(high)
