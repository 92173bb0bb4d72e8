"""Intervals of differences between two independent estimates, from the interval of each.

Zou & Donner, Construction of confidence limits about effect measures: a general approach, Statistics in Medicine 27,
2008 ("MOVER"): each end of a difference combines, in quadrature, the distances of the two estimates to the ends of
their intervals that matter there. Of two shares with Wilson's intervals this is the hybrid score interval of Newcombe
(Interval estimation for the difference between independent proportions, Statistics in Medicine 17, 1998, method 10).
Positive figures such as joules are compared on the logarithmic scale, where noise is about the same for small and
large ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

CONFIDENCE = 0.95
"""Confidence level of every interval of a comparison."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: The figure.
        low: Lower bound; at most `value`.
        high: Upper bound; at least `value`.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How much a figure varies when the same thing is measured again.

    Attributes:
        deviation: Standard deviation of its logarithm, about that of its relative error.
        freedom: Degrees of freedom of that estimate.
        repeats: The number of measurements that it comes from.
    """

    deviation: float
    freedom: int
    repeats: int

    @property
    def half_width(self) -> float:
        """Half-width of one measurement's interval on the logarithmic scale, by Student's distribution."""
        return student_quantile(self.freedom) * self.deviation


def estimate(
    value: float,
    low: float | None,
    high: float | None,
    *,
    confidence: float = CONFIDENCE,
    samples: int | None = None,
) -> Estimate | None:
    """Return a figure with its interval at 95 %; None without an interval.

    Args:
        value: The figure.
        low: Lower bound at ``confidence``.
        high: Upper bound at ``confidence``.
        confidence: The interval's level; a normal distribution converts it to 95 %.
        samples: The number of samples of a bootstrap interval, which is stretched as Student's distribution is wider
            than the normal one; None: the interval holds as it is.
    """
    if low is None or high is None:
        return None
    scale = _deviations(CONFIDENCE) / _deviations(confidence)
    if samples is not None:
        scale *= student_quantile(max(1, samples - 1)) / _deviations(CONFIDENCE)
    return Estimate(value=value, low=value - scale * max(0.0, value - low), high=value + scale * max(0.0, high - value))


def difference_interval(a: Estimate, b: Estimate) -> Interval:
    """Return the interval of ``b - a``."""
    difference = b.value - a.value
    return (
        difference - math.hypot(b.value - b.low, a.high - a.value),
        difference + math.hypot(b.high - b.value, a.value - a.low),
    )


def ratio_interval(a: Estimate, b: Estimate) -> Interval:
    """Return the interval of ``b / a - 1``; every bound must be positive."""
    low, high = difference_interval(_logarithm(a), _logarithm(b))
    return math.expm1(low), math.expm1(high)


def widened(one: Estimate, noise: Noise, *, independent: bool = False) -> Estimate:
    """Return a positive figure whose interval also covers repetitions.

    Args:
        one: The figure with its own interval.
        noise: The noise of repetitions.
        independent: Whether the noise adds to the interval, in quadrature; otherwise it has the interval's causes in
            it, as measured repetitions have the noise of samples in them, and the wider of the two counts.
    """
    combine = math.hypot if independent else max
    below, above = (combine(noise.half_width, each) for each in _log_distances(one))
    return Estimate(value=one.value, low=one.value * math.exp(-below), high=one.value * math.exp(above))


def repeat_noise(groups: Iterable[Sequence[float]]) -> Noise | None:
    """Return the noise of repeated measurements; None without enough of them.

    The variances of the groups' logarithms are pooled, so the noise is taken to be the same, relatively, in all.

    Args:
        groups: Measurements of the same thing, per thing.
    """
    squares, freedom, repeats = 0.0, 0, 0
    for group in groups:
        logs = [math.log(value) for value in group if value > 0]
        if len(logs) < 2:
            continue
        mean = fmean(logs)
        squares += sum((each - mean) ** 2 for each in logs)
        freedom += len(logs) - 1
        repeats += len(logs)
    if freedom < _LEAST_FREEDOM:
        return None
    return Noise(deviation=math.sqrt(squares / freedom), freedom=freedom, repeats=repeats)


def student_quantile(freedom: int) -> float:
    """Return the two-sided quantile of Student's distribution at 95 %."""
    from scipy.special import stdtrit  # SciPy is slow to import

    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))


_LEAST_FREEDOM = 2  # with one degree of freedom the quantile is 12.7, and nothing would ever be beyond the noise

_FAR = math.log(100)  # a figure that may well be zero


def _log_distances(one: Estimate) -> tuple[float, float]:
    """Return the distances of the bounds on the logarithmic scale; a lower bound of zero or less is taken as above."""
    above = math.log(one.high / one.value)
    return math.log(one.value / one.low) if one.low > 0 else max(above, _FAR), above


def _logarithm(one: Estimate) -> Estimate:
    return Estimate(value=math.log(one.value), low=math.log(one.low), high=math.log(one.high))


def _deviations(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
