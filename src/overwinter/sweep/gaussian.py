"""Points chosen by Gaussian processes: for few trials, each of which is dear.

Per objective, one process predicts the points that are not known yet, in the objective's logarithm where that spans
orders of magnitude. The next point has the highest expected improvement of the hypervolume: the mean, over places that
no known point dominates, of the probability that the new one does.

- Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), for the processes: chapters 2 and 5.
- Duvenaud, Nickisch and Rasmussen, "Additive Gaussian Processes" (2011), for the sum of kernels: effects that multiply
  add up in a logarithm, so what one key does is learned from points that differ in the others.
- Emmerich, Giannakoglou and Naujoks, "Single- and multiobjective evolutionary optimization assisted by Gaussian random
  field metamodels", IEEE TEVC 10 (2006), for the expected improvement of the hypervolume.

The sum of kernels, the logarithms and the spread of the first points were kept because they found more on tables that
are made up, of the kind that `python benchmarks/search.py --synthetic` makes. The priors are a first guess, not tuned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TRIES = 150  # kernels that are tried per fit: half anywhere under the prior, half around the best so far
_STEP = 0.3  # of a try around the best one, in standard deviations of the prior
_PLACES = 1500  # of objectives, at which the improvement is averaged
_TINY = 1e-8


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a search's points; less is better.

    Attributes:
        places: The points that ended: (points, keys), each key from 0 to 1, or the number of a category.
        losses: Their objectives; NaN where a point has none: (points, objectives).
        violations: By how much each breaks its limits; at most 0 if it meets them: (points,).
        pending: The points that run: (pending, keys).
        ordered: Whether each key has an order: (keys,).
    """

    places: Array
    losses: Array
    violations: Array
    pending: Array
    ordered: NDArray[np.bool_]


def best_of(candidates: Array, known: Known, draw: np.random.Generator) -> int:
    """Return the number of the candidate that promises most.

    Args:
        candidates: Points that are not known: (candidates, keys).
        known: What is known; at least one point has objectives.
        draw: The source of chance.
    """
    scores = _chances(candidates, known, draw)
    measured = np.asarray(np.all(np.isfinite(known.losses), axis=1))
    losses = known.losses[measured]
    predicted = [_predicted(candidates, known, measured, column, draw) for column in losses.T]
    means, deviations = (np.stack(each, axis=1) for each in zip(*predicted, strict=True))
    feasible = known.violations[measured] <= 0
    if feasible.any():
        worst = losses.max(axis=0)
        scores = scores * improvements(means, deviations, losses[feasible], worst, draw)
    # Where nothing promises more than another, the least known one is next.
    return int(np.lexsort((deviations.sum(axis=1), scores))[-1])


def improvements(means: Array, deviations: Array, losses: Array, worst: Array, draw: np.random.Generator) -> Array:
    """Return the expected improvement of the hypervolume by each candidate, as a share of the box that is looked at.

    Args:
        means: The candidates' predictions: (candidates, objectives).
        deviations: Their standard deviations: (candidates, objectives).
        losses: The points found so far: (points, objectives).
        worst: The reference point: (objectives,).
        draw: The source of chance.
    """
    from scipy.special import ndtr  # SciPy is slow to import

    corner = np.minimum(losses.min(axis=0), (means - deviations).min(axis=0))
    places = draw.uniform(corner, np.maximum(worst, corner), size=(_PLACES, len(worst)))
    dominated = np.asarray(np.any(np.all(losses <= places[:, None], axis=2), axis=1))
    open_places = places[~dominated]
    dominates = np.ones((len(means), len(open_places)))
    for place, mean, deviation in zip(open_places.T, means.T, deviations.T, strict=True):
        dominates *= ndtr((place - mean[:, None]) / deviation[:, None])
    return np.asarray(dominates.sum(axis=1) / _PLACES)


def _chances(candidates: Array, known: Known, draw: np.random.Generator) -> Array:
    """Return each candidate's probability to meet the limits."""
    from scipy.special import ndtr

    if (known.violations <= 0).all():
        return np.ones(len(candidates))
    every = np.ones(len(known.places), dtype=bool)
    mean, deviation = _predicted(candidates, known, every, known.violations, draw)
    return np.asarray(ndtr(-mean / deviation))


def _predicted(
    candidates: Array, known: Known, which: NDArray[np.bool_], values: Array, draw: np.random.Generator
) -> tuple[Array, Array]:
    """Return the mean and the deviation of one value at the candidates; points that run count as they are predicted."""
    places = known.places[which]
    process = Process(places, values, known.ordered)
    process.fit(draw)
    if len(known.pending):
        believed, _ = process.predict(known.pending)
        process = process.extended(known.pending, believed)
    return process.predict(candidates)


class Process:
    """A Gaussian process over keys of both kinds: a sum of a kernel per key, and their product.

    The kernels are Matern 5/2; two categories are at a distance of 1.

    Args:
        places: The points: (points, keys).
        values: Their values: (points,).
        ordered: Whether each key has an order: (keys,).
    """

    def __init__(self, places: Array, values: Array, ordered: NDArray[np.bool_]) -> None:
        self._places, self._ordered = places, ordered
        self._mean, self._scale = float(values.mean()), float(values.std()) or 1.0
        self._values = (values - self._mean) / self._scale
        keys = places.shape[1]
        # The logarithms of: lengths and variances per key, variance of the product, variance of the noise.
        self._centre = np.array([*[0.0] * keys, *[-0.5] * keys, -1.5, -4.0])
        self._spread = np.array([*[0.8] * keys, *[0.8] * keys, 1.0, 1.2])
        self._kernel = self._centre

    def fit(self, draw: np.random.Generator) -> None:
        """Choose the most probable kernel of those tried."""
        distances = self._distances(self._places)
        best = math.inf
        for attempt in range(_TRIES):
            around, step = (self._centre, 1.0) if attempt < _TRIES // 2 else (self._kernel, _STEP)
            kernel = around + step * self._spread * draw.normal(size=len(around)) * (attempt > 0)
            if (loss := self._loss(kernel, distances)) < best:
                best, self._kernel = loss, kernel

    def extended(self, places: Array, values: Array) -> Process:
        """Return the process with more points, and the same kernel and scale."""
        more = Process(self._places, self._values, self._ordered)
        more._kernel, more._mean, more._scale = self._kernel, self._mean, self._scale
        more._places = np.concatenate([self._places, places])
        more._values = np.concatenate([self._values, (values - self._mean) / self._scale])
        return more

    def predict(self, places: Array) -> tuple[Array, Array]:
        """Return the mean and the standard deviation of the value, without noise, at some points."""
        between = self._covariance(self._kernel, self._distances(places))
        root = self._root(self._kernel, self._distances(self._places))
        whitened = np.linalg.solve(root, between.T)
        mean = whitened.T @ np.linalg.solve(root, self._values)
        keys = len(self._ordered)
        variance = np.exp(self._kernel[keys : 2 * keys + 1]).sum() - (whitened**2).sum(axis=0)
        return mean * self._scale + self._mean, np.sqrt(np.maximum(variance, _TINY)) * self._scale

    def _distances(self, places: Array) -> Array:
        """Return the distances to the points along each key: (places, points, keys)."""
        apart = places[:, None] - self._places
        return np.where(self._ordered, np.abs(apart), apart != 0)

    def _covariance(self, kernel: Array, distances: Array) -> Array:
        keys = distances.shape[2]
        scaled = math.sqrt(5) * distances / np.exp(kernel[:keys])
        each = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
        return np.asarray(each @ np.exp(kernel[keys : 2 * keys]) + np.exp(kernel[2 * keys]) * each.prod(axis=2))

    def _root(self, kernel: Array, distances: Array) -> Array:
        noise = np.exp(kernel[-1]) + _TINY
        return np.linalg.cholesky(self._covariance(kernel, distances) + noise * np.eye(len(distances)))

    def _loss(self, kernel: Array, distances: Array) -> float:
        """Return the negative logarithm of a kernel's probability, up to a constant."""
        root = self._root(kernel, distances)
        whitened = np.linalg.solve(root, self._values)
        prior = 0.5 * (((kernel - self._centre) / self._spread) ** 2).sum()
        return float(0.5 * whitened @ whitened + np.log(np.diag(root)).sum() + prior)


def latin_shares(count: int, keys: int, draw: np.random.Generator) -> Sequence[Sequence[float]]:
    """Return points from 0 to 1 that are spread evenly along each key: (count, keys).

    McKay, Beckman and Conover, "A comparison of three methods for selecting values of input variables in the analysis
    of output from a computer code", Technometrics 21 (1979).

    Args:
        count: The number of points.
        keys: The number of keys.
        draw: The source of chance.
    """
    strata = np.stack([draw.permutation(count) for _ in range(keys)], axis=1)
    shares: list[list[float]] = ((strata + draw.uniform(size=strata.shape)) / count).tolist()
    return shares
