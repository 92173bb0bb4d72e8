"""Search for the limit with the least energy per unit of work.

A one-dimensional pattern search (Hooke and Jeeves 1961) that tolerates local minima: from the middle of the range,
coarse steps lead away from the best limit to both sides, up to a limit with so much more energy that none beyond it is
worth a try; then the steps halve. The only assumptions about the device: energy changes little between two
neighbouring limits, and a lower limit is not faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overwinter.power.interface import OperatingPoint
from overwinter.power.policies.decisions import NEAR_W

_COARSE_STEPS = 5  # over the whole range
_HOPELESS = 0.25  # excess energy over the best, a coarse step away, beyond which no limit is tried


@dataclass(frozen=True, kw_only=True)
class Search:
    """State of a search.

    Attributes:
        next_w: the limit to try next; None: no untried limit is promising.
        fast_enough: points of the limits within the maximum slowdown.
    """

    next_w: float | None
    fast_enough: tuple[OperatingPoint, ...]


def search(limits_w: Sequence[float], points: Sequence[OperatingPoint], max_slowdown: float | None) -> Search:
    """Return the next limit to try, and the points so far that are fast enough.

    Args:
        limits_w: the limits that may be tried.
        points: the points so far.
        max_slowdown: maximum slowdown against the highest limit, which is then tried first; None: no maximum.
    """
    grid = sorted(limits_w)
    known = _on_grid(grid, points)
    top = known.get(len(grid) - 1)
    if max_slowdown is None:
        slowest = 0.0
    elif top is None:
        return Search(next_w=grid[-1], fast_enough=())
    else:
        slowest = slowest_per_s(top, max_slowdown)
    fast = {place: point for place, point in known.items() if point.speed_per_s >= slowest}
    energies_j = {place: energy_per_work_j(known[place]) if place in fast else math.inf for place in known}
    place = _next_place(energies_j, len(grid))
    return Search(next_w=None if place is None else grid[place], fast_enough=tuple(fast.values()))


def slowest_per_s(top: OperatingPoint, max_slowdown: float) -> float:
    """Return the lowest speed within the maximum slowdown against the highest limit."""
    return top.speed_per_s / (1 + max_slowdown) * (1 - 1e-9)


def energy_per_work_j(point: OperatingPoint) -> float:
    """Return the joules per unit of work."""
    return point.power_w / point.speed_per_s


def _on_grid(grid: Sequence[float], points: Sequence[OperatingPoint]) -> dict[int, OperatingPoint]:
    return {
        place: point for place, limit_w in enumerate(grid) for point in points if abs(point.limit_w - limit_w) <= NEAR_W
    }


def _next_place(energies_j: Mapping[int, float], places: int) -> int | None:
    middle = (places - 1) // 2
    if energies_j.keys() <= {places - 1} and middle not in energies_j:
        return middle
    coarse = stride = max(1, round((places - 1) / _COARSE_STEPS))
    least_j = min(energies_j.values())
    while stride:
        # around the minimum of a smooth curve, the excess grows with the square of the distance
        hopeless_j = least_j * (1 + _HOPELESS * (stride / coarse) ** 2)
        for towards in (-1, 1):
            place = _first_gap(energies_j, places, towards, stride, hopeless_j)
            if place is not None:
                return place
        stride //= 2
    return None


def _first_gap(
    energies_j: Mapping[int, float], places: int, towards: int, stride: int, hopeless_j: float
) -> int | None:
    """Walk from the best limit over the tried ones to a gap of width ``stride``; None: no gap is worth a try."""
    best = min(energies_j, key=energies_j.__getitem__)
    here = best
    for place in range(best + towards, places if towards > 0 else -1, towards):
        if place in energies_j:
            here = place
            if energies_j[here] > hopeless_j:
                return None
        elif abs(place - here) == stride:
            return place
    return None
