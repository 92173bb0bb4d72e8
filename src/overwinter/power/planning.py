"""Plan of the work over time at the least cost by the deadline, without a solver.

Under one price (grams or money per joule), mixing two power limits within a step reaches every point between
them, so only the lower convex hull of (speed, watts) matters, with the pause as a vertex. In each step of the
forecast, each edge of the hull is an amount of work at a cost per unit. Filling the cheapest edges first solves the
linear programme exactly, since the cost per unit rises from edge to edge within a step. With a negative price, the
upper hull matters instead.

If a pause costs energy (the device is kept, or there are no pauses), the cost depends on when the work ends. Then
the plan is filled for every step in which the work may end, and the cheapest is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from overwinter.power.interface import OperatingPoint

Floats = NDArray[np.float64]
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Hull:
    """A convex hull of operating points in rising order of speed; the first is the pause, if pauses are allowed.

    Attributes:
        speeds: work per second; (vertices,).
        powers: watts; (vertices,).
        limits_w: power limit of each vertex; None: pause.
    """

    speeds: Floats
    powers: Floats
    limits_w: tuple[float | None, ...]

    @cached_property
    def widths(self) -> Floats:
        """Speed gained along each edge; (edges,)."""
        return np.diff(self.speeds)

    @cached_property
    def slopes(self) -> Floats:
        """Joules per unit of work along each edge; (edges,)."""
        return np.diff(self.powers) / self.widths

    @property
    def top_speed(self) -> float:
        """The speed of the fastest vertex."""
        return float(self.speeds[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope:
    """The hulls for prices of at least 0 (``lower``) and for negative prices (``upper``)."""

    lower: Hull
    upper: Hull

    def at(self, price: float) -> Hull:
        """Return the hull for ``price``."""
        return self.upper if price < 0 else self.lower


@dataclass(frozen=True, kw_only=True, eq=False)
class LimitPlan:
    """Planned work per step.

    Attributes:
        work: units of work in each step; (steps,).
        cost: sum of price times joules.
        end_step: the step in which the work ends, if pauses cost energy.
    """

    work: Floats
    cost: float
    end_step: int | None = None


@lru_cache(maxsize=512)
def envelope(points: tuple[OperatingPoint, ...], idle_w: float | None) -> Envelope:
    """Return the envelope of ``points`` and of a pause that draws ``idle_w``; None: no pauses."""
    pause = [] if idle_w is None else [(0.0, idle_w, None)]
    vertices = [*pause, *((point.speed_per_s, point.power_w, point.limit_w) for point in points)]
    return Envelope(lower=_chain(vertices, sign=1.0), upper=_chain(vertices, sign=-1.0))


def plan(
    prices: Floats, durations_s: Floats, work: float, points: Sequence[OperatingPoint], idle_w: float | None
) -> LimitPlan:
    """Plan ``work`` over the steps of a forecast.

    Args:
        prices: cost per joule in each step, in any unit; (steps,).
        durations_s: length of each step; (steps,).
        work: units of work to do; the excess over what fits is dropped.
        points: operating points of the limits.
        idle_w: power drawn in a pause before the end; None: no pauses.
    """
    known = tuple(points)
    free = envelope(known, 0.0)
    if idle_w == 0:
        return _fill(prices, durations_s, work, free)
    return _fill_to_end(prices, durations_s, work, envelope(known, idle_w), free)


def _chain(vertices: Iterable[tuple[float, float, float | None]], *, sign: float) -> Hull:
    """Return the lower (``sign`` 1) or upper (-1) convex hull in rising order of speed, by Andrew's monotone chain."""
    chain: list[tuple[float, float, float | None]] = []
    for vertex in sorted(vertices, key=lambda each: (each[0], sign * each[1])):
        if chain and vertex[0] <= chain[-1][0] * (1 + _ROUNDING):
            if sign * vertex[1] >= sign * chain[-1][1]:
                continue  # as fast as the previous vertex, and not better
            chain.pop()
        while len(chain) > 1 and _is_above(chain[-2], chain[-1], vertex, sign):
            chain.pop()
        chain.append(vertex)
    return Hull(
        speeds=np.array([each[0] for each in chain]),
        powers=np.array([each[1] for each in chain]),
        limits_w=tuple(each[2] for each in chain),
    )


def _is_above(
    left: tuple[float, float, float | None],
    middle: tuple[float, float, float | None],
    right: tuple[float, float, float | None],
    sign: float,
) -> bool:
    turn = (middle[1] - left[1]) * (right[0] - left[0]) - (right[1] - left[1]) * (middle[0] - left[0])
    return sign * turn >= 0


def _fill(prices: Floats, durations_s: Floats, work: float, curve: Envelope) -> LimitPlan:
    """Fill the cheapest edges first; pauses cost nothing."""
    steps, costs, sizes = _edges(prices, durations_s, curve)
    order = np.argsort(costs, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    taken = np.clip(work - before, 0.0, sizes[order])
    done = _by_step(steps[order], taken, len(prices))
    return LimitPlan(work=done, cost=float(taken @ costs[order]))


def _fill_to_end(prices: Floats, durations_s: Floats, work: float, kept: Envelope, free: Envelope) -> LimitPlan:
    """Fill for every step in which the work may end, with ``kept`` before that step and ``free`` in it."""
    base_work = _before(kept.lower.speeds[0] * durations_s)
    base_cost = _before(kept.lower.powers[0] * prices * durations_s)
    steps, costs, sizes = (
        np.concatenate(pair)
        for pair in zip(_edges(prices, durations_s, kept), _edges(prices, durations_s, free), strict=True)
    )
    is_last = np.arange(len(steps)) >= len(steps) - _edge_count(prices, free)
    order = np.argsort(costs, kind="stable")
    steps, costs, sizes, is_last = steps[order], costs[order], sizes[order], is_last[order]
    ends = _possible_ends(durations_s, work, kept, base_work)
    # (ends, edges): edges of `kept` are open before the end step, those of `free` in it
    open_sizes = np.where(is_last, steps == ends[:, None], steps < ends[:, None]) * sizes
    before = np.cumsum(open_sizes, axis=1) - open_sizes
    taken = np.clip(work - base_work[ends, None] - before, 0.0, open_sizes)
    total = base_cost[ends] + taken @ costs
    best = int(np.argmin(total))
    done = _by_step(steps, taken[best], len(prices))
    done[: ends[best]] += kept.lower.speeds[0] * durations_s[: ends[best]]
    return LimitPlan(work=done, cost=float(total[best]), end_step=int(ends[best]))


def _possible_ends(durations_s: Floats, work: float, kept: Envelope, base_work: Floats) -> NDArray[np.intp]:
    """Return the steps in which the work can end: it fits by then, and is not done before; at least the last."""
    fits = np.cumsum(durations_s) * kept.lower.top_speed >= work * (1 - _ROUNDING)
    ends = np.flatnonzero(fits & (base_work <= work))
    return ends if len(ends) else np.array([len(durations_s) - 1])


def _edges(prices: Floats, durations_s: Floats, curve: Envelope) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return step, cost per unit of work, and work of every edge in every step; (edges,) each."""
    parts = []
    for steps, hull in (
        (np.flatnonzero(prices >= 0), curve.lower),
        (np.flatnonzero(prices < 0), curve.upper),
    ):
        parts.append(
            (
                np.repeat(steps, len(hull.widths)),
                np.outer(prices[steps], hull.slopes).ravel(),
                np.outer(durations_s[steps], hull.widths).ravel(),
            )
        )
    if not len(parts[1][0]):
        return parts[0]
    steps, costs, sizes = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    return steps, costs, sizes


def _edge_count(prices: Floats, curve: Envelope) -> int:
    below = int(np.count_nonzero(prices < 0))
    return below * len(curve.upper.widths) + (len(prices) - below) * len(curve.lower.widths)


def _by_step(steps: NDArray[np.intp], work: Floats, count: int) -> Floats:
    return np.bincount(steps, weights=work, minlength=count).astype(np.float64)


def _before(values: Floats) -> Floats:
    """Return the exclusive cumulative sum; (steps,)."""
    return np.cumsum(values) - values
