"""Interface of a loaded model, on any runtime."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from overwinter.inputs import Array, Inputs

__all__ = ["Array", "Session", "largest_difference", "softmax"]


class Session(Protocol):
    """A model loaded into a runtime. Dropping it closes it."""

    def run(self, inputs: Inputs) -> Array:
        """Return the output that counts (batch, ...), float32, of a batch of inputs, one array or several by name."""


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Return the probabilities (..., classes), in float64, of logits (..., classes)."""
    shares: Array = np.exp((logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)) / temperature)
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares


def largest_difference(outputs: Array, expected: Array) -> float:
    """Return the largest difference of two outputs, relative to the largest expected logit.

    It is infinite if the shapes differ or a logit is not finite, so that it exceeds every tolerance.
    """
    if outputs.shape != expected.shape or not (np.isfinite(outputs).all() and np.isfinite(expected).all()):
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    return float(np.abs(outputs.astype(np.float64) - expected).max(initial=0.0)) / scale
