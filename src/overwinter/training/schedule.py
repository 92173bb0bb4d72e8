"""The learning rate over a fit: a linear warm-up, then a cosine to zero (Loshchilov and Hutter, 2017)."""

from __future__ import annotations

import math


def learning_rate_at(step: int, total: int, *, peak: float, warmup_fraction: float) -> float:
    """Return the learning rate of a step.

    Args:
        step: from 1 to ``total``.
        total: steps of the whole fit.
        peak: the highest learning rate.
        warmup_fraction: share of all steps in which it climbs.
    """
    warmup_steps = round(total * warmup_fraction)
    if step <= warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps - 1) / max(1, total - warmup_steps)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
