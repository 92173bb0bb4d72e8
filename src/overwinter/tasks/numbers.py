"""Probabilities and errors of arrays that several tasks share."""

from __future__ import annotations

import numpy as np

from overwinter.tasks.interface import Array, Values

_TINY = np.finfo(np.float64).tiny


def softmax(logits: Array) -> Values:
    """Return probabilities over the last axis."""
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def sigmoid(logits: Array) -> Values:
    """Return the probability of each label by itself."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


def mean_of_rest(values: Array) -> Values:
    """Return the mean of each sample's values (n,)."""
    return np.asarray(values.reshape(len(values), -1).mean(axis=1), dtype=np.float64)


def closeness(outputs: Array, reference: Array) -> Values:
    """Return 1 - each sample's root mean square error over the spread of the reference, at least 0 (n,).

    Args:
        outputs: (n, ..., series).
        reference: (n, ..., series); the spread is the standard deviation of each series over all samples.
    """
    expected = reference.astype(np.float64).reshape(-1, reference.shape[-1])  # (n * ..., series)
    spread = expected.std(axis=0)
    size = np.abs(expected).max(axis=0)
    spread = np.where(spread > 1e-6 * size, spread, np.maximum(size, _TINY))
    error = (outputs.astype(np.float64) - reference) / spread
    return np.asarray(1.0 - np.minimum(1.0, np.sqrt(mean_of_rest(error**2))))
