"""Confidence intervals of the headline measure, and of its loss against dense on the same samples.

The share of correct samples has closed forms. Any other measure gets a paired percentile bootstrap over the samples
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13): every candidate is measured on the same
300 seeded resamples, so that what dense finds hard is hard for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import OverwinterError
from overwinter.evaluation.figures import Interval
from overwinter.tasks import Rows, Task

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]

CORRECT = "correct"
RESAMPLES = 300


def headline_intervals(
    task: Task, rows: Mapping[str, Rows], dense: str, *, confidence: float, seed: int
) -> dict[str, tuple[Interval, Interval]]:
    """Return name -> the interval of the headline, and that of its loss against dense (`Measure.loss`).

    Args:
        task: the task.
        rows: name -> rows of the whole split, the same samples in the same order for all.
        dense: name of the reference.
        confidence: confidence level of the intervals.
        seed: seed of the resamples.
    """
    if CORRECT in rows[dense]:
        reference = rows[dense][CORRECT]
        return {
            name: (
                share_interval(each[CORRECT], confidence=confidence),
                loss_interval(reference, each[CORRECT], confidence=confidence),
            )
            for name, each in rows.items()
        }
    drawn = {name: _resampled(task, each, seed) for name, each in rows.items()}
    return {
        name: (_ends(values, confidence), _ends(_losses(task, values, drawn[dense]), confidence))
        for name, values in drawn.items()
    }


def share_interval(right: Flags, *, confidence: float) -> Interval:
    """Return the interval of the share of correct samples among all inputs of this kind (Wilson, 1927).

    Args:
        right: whether each sample is correct (n,).
        confidence: confidence level of the interval.
    """
    deviations = _deviations(confidence)
    count, share = len(right), float(right.mean())
    extra = deviations**2 / count
    middle = (share + extra / 2) / (1 + extra)
    half = deviations * math.sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def loss_interval(dense_right: Flags, right: Flags, *, confidence: float) -> Interval:
    """Return the interval of the share of correct samples lost against dense, on the same samples.

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


def _resampled(task: Task, rows: Rows, seed: int) -> Values:
    """Return the headline on every resample (resamples,); NaN where it is not defined."""
    resamples = _totals(rows, seed) if _are_sums(task, rows) else _members(rows, seed)
    return np.asarray([_headline(task, each) for each in resamples])


def _headline(task: Task, rows: Rows) -> float:
    with np.errstate(all="ignore"):
        try:
            return task.measure(rows)[task.headline.name]
        except (OverwinterError, ArithmeticError, ValueError):
            return math.nan


def _are_sums(task: Task, rows: Rows) -> bool:
    """Return whether the headline needs only the sums of the rows, such as counts of hits: then a resample is cheap."""
    total = {name: values.sum(axis=0, keepdims=True) for name, values in rows.items()}
    return len(next(iter(rows.values()))) > 1 and math.isclose(_headline(task, total), _headline(task, rows))


def _drawn(count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    return (generator.integers(count, size=count) for _ in range(RESAMPLES))


def _members(rows: Rows, seed: int) -> Iterator[Rows]:
    count = len(next(iter(rows.values())))
    return ({name: values[index] for name, values in rows.items()} for index in _drawn(count, seed))


def _totals(rows: Rows, seed: int) -> Iterator[Rows]:
    """Yield the sums of the rows of each resample, as one row; how often each was drawn is its weight."""
    count = len(next(iter(rows.values())))
    weights = np.stack([np.bincount(index, minlength=count) for index in _drawn(count, seed)])  # (resamples, n)
    totals = {name: np.tensordot(weights, values, axes=1) for name, values in rows.items()}  # (resamples, ...)
    return ({name: values[place : place + 1] for name, values in totals.items()} for place in range(RESAMPLES))


def _losses(task: Task, values: Values, dense: Values) -> Values:
    return np.asarray([task.headline.loss(*pair) for pair in zip(values.tolist(), dense.tolist(), strict=True)])


def _ends(values: Values, confidence: float) -> Interval:
    known = values[np.isfinite(values)]  # a resample may lack what a measure needs, such as tokens that count
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return float(low), float(high)
