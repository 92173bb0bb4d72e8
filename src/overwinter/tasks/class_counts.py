"""Counts of right and wrong classes per sample, from which shares, F1 and intersections over union follow."""

from __future__ import annotations

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.interface import Array, Rows, Values
from overwinter.tasks.targets import IGNORED


def class_counts(predicted: Array, targets: Array, classes: int) -> Rows:
    """Return how often each sample has each class right, predicted and as target: each (n, classes).

    Args:
        predicted: class numbers (n, ...).
        targets: (n, ...); -100 does not count.
        classes: how many there are.
    """
    counts = targets != IGNORED
    return {
        "hits": _per_sample(targets, counts & (predicted == targets), classes),
        "predicted": _per_sample(predicted, counts, classes),
        "targets": _per_sample(targets, counts, classes),
    }


def _per_sample(numbers: Array, counted: Array, classes: int) -> Array:
    samples = len(numbers)
    sample = np.broadcast_to(np.arange(samples).reshape(-1, *(1,) * (numbers.ndim - 1)), numbers.shape)
    places = (sample * classes + numbers)[counted]
    return np.bincount(places, minlength=samples * classes).reshape(samples, classes)


def totals(rows: Rows) -> tuple[Values, Values, Values]:
    """Return hits, predicted and targets over all samples, each (classes,)."""
    hits, predicted, targets = (
        np.asarray(rows[name].sum(axis=0), dtype=np.float64) for name in ("hits", "predicted", "targets")
    )
    return hits, predicted, targets


def counted_totals(rows: Rows) -> tuple[Values, Values, Values]:
    """Return `totals`.

    Raises:
        ConfigError: no position counts.
    """
    if not rows["targets"].any():
        raise ConfigError(f"Every target is {IGNORED}, which does not count. Give each sample some that do.")
    return totals(rows)


def f1_macro(hits: Values, predicted: Values, targets: Values) -> float:
    """Return the mean F1 of the classes that are predicted or occur, as scikit-learn's `f1_score`."""
    return _mean_where(2 * hits, predicted + targets)


def mean_iou(hits: Values, predicted: Values, targets: Values) -> float:
    """Return the mean intersection over union (Jaccard index) of the classes that are predicted or occur."""
    return _mean_where(hits, predicted + targets - hits)


def share(hits: Values, targets: Values) -> float:
    """Return the share of right positions; 0 where none counts."""
    return float(hits.sum() / max(targets.sum(), 1.0))


def _mean_where(part: Values, whole: Values) -> float:
    occurs = whole > 0
    return float((part[occurs] / whole[occurs]).mean()) if occurs.any() else 0.0
