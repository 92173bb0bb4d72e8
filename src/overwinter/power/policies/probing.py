"""Which limit to try next, when looking for the one with the least energy per unit of work.

A pattern search along one line (Hooke and Jeeves 1961) that bears bumps: from the middle of the range, coarse steps
lead away from the best limit to both sides, up to one under which the work needs so much more that nothing beyond
it is worth a try; then the steps halve. Nothing is assumed of the device but that energy changes little between
two neighbours, and that a lower limit is no faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overwinter.power.interface import OperatingPoint
from overwinter.power.policies.decisions import NEAR_W

_COARSE_STEPS = 5  # over the whole range
_HOPELESS = 0.25  # more energy than the best, a coarse step away: nothing beyond is tried


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where a search stands.

    Attributes:
        next_w: the untried limit to try next; None: no other one is promising.
        fast_enough: what is known of the limits under which the work does not take too long.
    """

    next_w: float | None
    fast_enough: tuple[OperatingPoint, ...]


def search(limits_w: Sequence[float], points: Sequence[OperatingPoint], max_slowdown: float | None) -> Search:
    """Say what to try next, and what is known so far.

    Args:
        limits_w: the limits that may be tried.
        points: what is known.
        max_slowdown: how much longer the work may take than under the highest limit, which is then tried first;
            None: no matter.
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
    """Return the least speed that is not too slow beside that under the highest limit."""
    return top.speed_per_s / (1 + max_slowdown) * (1 - 1e-9)


def energy_per_work_j(point: OperatingPoint) -> float:
    """Return the joules that a unit of work takes."""
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
        # around the least of a smooth curve, what is lost grows with the square of the distance
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
    """Walk from the best over what was tried, up to a gap as wide as ``stride``; None: none is worth a try."""
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
