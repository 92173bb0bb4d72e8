"""Which limit to try next, when looking for the one with the least energy per unit of work.

Bayesian optimisation over a handful of curves (expected improvement: Jones, Schonlau and Welch 1998). Nothing is
known of the device but physics: below the power that the work draws freely, energy per work falls as voltage and
clock fall, by some tenths, reaches a floor between two fifths and four fifths of that power, and rises again as
the idle power takes longer to be paid; above it, a limit changes nothing. Every curve of that kind is a
hypothesis, with every size of the scatter that measurements have. The first probe, without a cap, is the
reference, and its power says where caps begin to bind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overwinter.power.interface import OperatingPoint

Floats = NDArray[np.float64]

_DEPTHS = (0.15, 0.3, 0.45)  # log of the energy saved at the floor
_FLOORS = (0.4, 0.5, 0.6, 0.7)  # where it is, as a share of the power drawn freely
_LEFT_WIDTH = 0.3  # below the floor by that share, all is lost again
_SCATTER = np.array([0.01, 0.02, 0.03, 0.045, 0.065])  # standard deviation of log energy
_LOG_PRIOR = np.log(np.array([1.25, 1.25, 1.0, 1.0, 1.0]))  # of each scatter
_WORTHWHILE = 0.0065  # expected improvement of log energy that is worth one more probe
_IDLE = 0.25  # share of the power drawn freely that does not fall with the clock
_BOUND = 0.6  # share of the time that grows as the clock falls, before a probe tells
_SLOW_SCATTER = (0.015, 0.35)  # deviation of the slow-down that this foretells: alone, and as a share of it
_SAME_W = 0.5
_erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where a search stands.

    Attributes:
        next_w: the limit to try next; None: no further probe is worth it.
        best_w: the best that is known and not too slow; None: the reference is not known yet.
    """

    next_w: float | None
    best_w: float | None


def search(
    limits_w: Sequence[float], points: Sequence[OperatingPoint], max_slowdown: float | None, devices: int = 1
) -> Search:
    """Say what to try next, and what is best so far.

    Args:
        limits_w: the limits that may be tried; the highest is the reference.
        points: what is known.
        max_slowdown: how much longer the work may take than under the highest limit; None: no matter.
        devices: how many share the power of a point.
    """
    grid = sorted(limits_w)
    known = _on_grid(grid, points)
    top = known.get(len(grid) - 1)
    if top is None:
        return Search(next_w=grid[-1], best_w=None)
    slowest = 0.0 if max_slowdown is None else top.speed_per_s / (1 + max_slowdown) * (1 - 1e-9)
    allowed = [place for place, point in known.items() if point.speed_per_s >= slowest]
    best = min(allowed, key=lambda place: _log_energy(known[place]))
    # what is too slow rules out all lower limits
    lowest = max((place for place, point in known.items() if point.speed_per_s < slowest), default=-1)
    untried = [place for place in range(lowest + 1, len(grid)) if place not in known]
    shares = np.minimum(np.array(grid) * devices / top.power_w, 1.0)
    return Search(
        next_w=_most_promising(grid, untried, known, shares, _log_energy(known[best]), max_slowdown),
        best_w=known[best].limit_w,
    )


def _most_promising(
    grid: Sequence[float],
    untried: Sequence[int],
    known: Mapping[int, OperatingPoint],
    shares: Floats,
    best: float,
    max_slowdown: float | None,
) -> float | None:
    if not untried:
        return None
    gains = _expected_gains(untried, known, shares, best)
    if max_slowdown is not None:
        gains = gains * _chance_in_time(untried, known, shares, max_slowdown)
    place = int(np.argmax(gains))
    return grid[untried[place]] if gains[place] >= _WORTHWHILE else None


def _on_grid(grid: Sequence[float], points: Sequence[OperatingPoint]) -> dict[int, OperatingPoint]:
    return {
        place: point
        for place, limit_w in enumerate(grid)
        for point in points
        if abs(point.limit_w - limit_w) <= _SAME_W
    }


def _log_energy(point: OperatingPoint) -> float:
    return math.log(point.power_w / point.speed_per_s)


def _expected_gains(untried: Sequence[int], known: Mapping[int, OperatingPoint], shares: Floats, best: float) -> Floats:
    """Return the expected improvement of log energy on ``best`` at each untried place; (untried,)."""
    tried = list(known)
    curves = _curves(shares)  # (curves, limits)
    rest = np.array([_log_energy(known[place]) for place in tried]) - curves[:, tried]
    level = rest.mean(axis=1, keepdims=True)  # (curves, 1)
    misfit = ((rest - level) ** 2).sum(axis=1, keepdims=True)
    log_weight = _LOG_PRIOR - (len(tried) - 1) * np.log(_SCATTER) - misfit / (2 * _SCATTER**2)
    weight = np.exp(log_weight - log_weight.max())  # (curves, scatters)
    spread = _SCATTER * math.sqrt(1 + 1 / len(tried))
    gap = (level + curves[:, untried] - best)[:, None, :]  # (curves, 1, untried)
    gains = _improvement(gap, spread[None, :, None])
    return np.asarray((weight[:, :, None] * gains).sum(axis=(0, 1)) / weight.sum())


def _chance_in_time(
    untried: Sequence[int], known: Mapping[int, OperatingPoint], shares: Floats, max_slowdown: float
) -> Floats:
    """Return the chance of each untried limit to be fast enough; (untried,).

    Power beyond the idle share falls with the cube of the clock, and the time that depends on it grows as it falls.
    """
    clock = np.cbrt(np.clip((shares - _IDLE) / (1 - _IDLE), 0.05, 1.0))
    slower = 1 / clock - 1
    full_speed = known[len(shares) - 1].speed_per_s
    told = [
        (full_speed / point.speed_per_s - 1) / slower[place] for place, point in known.items() if slower[place] > 0.02
    ]
    expected = max(0.0, float(np.mean([_BOUND, *told]))) * slower[list(untried)]
    spread = _SLOW_SCATTER[0] + _SLOW_SCATTER[1] * expected
    return np.asarray((1 + _erf((max_slowdown - expected) / spread / math.sqrt(2))) / 2)


def _improvement(gap: Floats, spread: Floats) -> Floats:
    """Return the mean of what a normal variable lies below 0, with mean ``gap`` and deviation ``spread``."""
    ratio = -gap / spread
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(spread * density - gap * (1 + _erf(ratio / math.sqrt(2))) / 2)


def _curves(shares: Floats) -> Floats:
    """Return log energy against the reference by limit, for each hypothesis; (curves, limits)."""
    if (shares >= 1).all():
        return np.zeros((1, len(shares)))
    rows = []
    for depth, floor in itertools.product(_DEPTHS, _FLOORS):
        away = np.where(shares >= floor, (shares - floor) / (1 - floor), (floor - shares) / _LEFT_WIDTH)
        rows.append(depth * (away**2 - 1))
    curves = np.array(rows)
    return np.asarray(curves - curves[:, -1:])
