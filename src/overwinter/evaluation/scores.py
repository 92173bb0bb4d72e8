"""Measures of quality: numbers from logits and labels."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from overwinter.runtime import Array, softmax

Flags = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]
_BINS = 15


class Measure(Protocol):
    """A measure of your own, named in ``evaluate.measures``."""

    def __call__(self, logits: Array, labels: Labels) -> float:
        """Return a number, where higher is better, for logits (n, classes) and labels (n,)."""


def accuracy(logits: Array, labels: Labels) -> float:
    """Return the share of correct predictions."""
    return float((logits.argmax(axis=1) == labels).mean())


def share_interval(right: Flags, *, confidence: float) -> tuple[float, float]:
    """Return the interval of the share of correct predictions on all inputs of this kind (Wilson, 1927).

    Args:
        right: whether each prediction is correct (n,).
        confidence: confidence level of the interval.
    """
    deviations = _deviations(confidence)
    count, share = len(right), float(right.mean())
    extra = deviations**2 / count
    middle = (share + extra / 2) / (1 + extra)
    half = deviations * math.sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def loss_interval(dense_right: Flags, right: Flags, *, confidence: float) -> tuple[float, float]:
    """Return the interval of the share of correct predictions lost against dense, on the same samples.

    Only samples on which the two differ count; half a sample is added to each of the four combinations (Agresti & Min,
    Simple improved confidence intervals for comparing matched proportions, 2005).
    """
    count = len(right) + 2
    lost, won = ((dense_right & ~right).sum() + 0.5, (right & ~dense_right).sum() + 0.5)
    loss = float(lost - won) / count
    half = _deviations(confidence) * math.sqrt((lost + won) - count * loss**2) / count
    return loss - half, loss + half


def _deviations(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def top_accuracy(logits: Array, labels: Labels, best: int) -> float:
    """Return the share of samples whose class is among the ``best`` most probable ones."""
    most_probable = np.argpartition(-logits, best - 1, axis=1)[:, :best]
    return float((most_probable == labels[:, None]).any(axis=1).mean())


def agreement(logits: Array, reference: Array) -> float:
    """Return the share of samples with the same prediction."""
    return float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean())


def calibration_error(logits: Array, labels: Labels) -> float:
    """Return the expected calibration error over 15 equal bins.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    confidence = softmax(logits).max(axis=1)
    right = logits.argmax(axis=1) == labels
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)  # sum of correctness minus confidence
    return float(np.abs(gaps).sum() / len(labels))


def worst_class(logits: Array, labels: Labels) -> tuple[int, float]:
    """Return the class with the lowest accuracy, among those that occur, and that accuracy."""
    right = logits.argmax(axis=1) == labels
    counts, hits = np.bincount(labels), np.bincount(labels, weights=right)
    shares = np.where(counts > 0, hits / np.maximum(counts, 1), np.inf)
    worst = int(shares.argmin())
    return worst, float(shares[worst])
