"""A policy that learns from the arrivals which time-outs would have been best.

Sixteen candidates, each a factor on the break-even times, from 0 (sleep at once) to infinity (never). For
each, the joules that it would have spent on every idle period so far are summed, older periods counting less,
and the least sum leads. It starts from break-even, which a little evidence outweighs.

There are two leaders. One goes by the sums over everything, and soon is as good as the best candidate. The
other goes by sums that are kept apart by how busy it has been lately, at two speeds, since what was best on a
busy morning is not on a quiet night; but that spreads few periods over many sums, and where the requests have no
such times it only learns later. So what each of the two would have spent is summed as well, and the second is
followed once it has clearly spent less.

The idea is follow-the-leader with side information and over leaders (Cesa-Bianchi and Lugosi, *Prediction,
Learning, and Games*, 2006), on the histogram of *Serverless in the Wild* (Shahrad et al., ATC 2020) made fine and
discounted.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Any

from overwinter.errors import IntegrityError
from overwinter.serving.sleep.ladder import Ladder
from overwinter.serving.sleep.timed import TimedDescent

# Break-even first, then by distance from it: the first of equals wins, and break-even is never far off the
# best.
FACTORS = (1, 1.4, 0.75, 2, 0.55, 2.8, 0.4, 4, 0.3, 0.2, 8, 0.15, 0.1, 0.05, 0, math.inf)
_HEAD_START = 1.0  # sleeps and wakes that break-even may have spent more than a candidate before it is left
_CLEARLY = 3.0  # sleeps and wakes that the leader by context must have spent less than the other one
_SPEEDS = (0.05, 0.2)  # weights of the newest idle period in the two running means
_BIN = 0.5  # width of a context, in natural logarithms of the mean idle period
_BINS = 8  # contexts reach as many bins to either side of break-even
_KEPT = 0.9998  # what is left of a sum's weight when the next period is added
_BORROWED = 3.0  # idle periods' worth of the overall sums that every context starts with


class Learned(TimedDescent):
    """The candidate time-outs that would have cost least so far, in all or at times as busy as now."""

    reason = "learned"

    def __init__(self, ladder: Ladder) -> None:
        super().__init__(ladder)
        self._losses = _Losses(ladder)
        self._unit_s = ladder.break_even_s or 1.0
        self._unit_j = max(0.0, ladder.rungs[-1].switch_j)
        self._seen = 0
        self._means = [0.0] * len(_SPEEDS)  # of idle periods in break-even times
        self._overall = _Sums()
        self._contexts: dict[tuple[int, ...], _Sums] = {}
        self._spent_j = [0.0, 0.0]  # by the leader overall, and by the one of the context
        self._here = _context(self._means)

    def _choose(self) -> float:
        overall, here = self._leaders()
        return FACTORS[here if self._here_is_better() else overall]

    def _leaders(self) -> tuple[int, int]:
        """Return the candidates that lead in all and at times as busy as now, which leans on the former a little."""
        all_j = [loss_j + self._head_start_j(place) for place, loss_j in enumerate(self._overall.losses_j)]
        context = self._contexts.get(self._here)
        if context is None:
            return _least(all_j), _least(all_j)
        share = _BORROWED / self._overall.weight
        blended_j = [own_j + share * each_j for own_j, each_j in zip(context.losses_j, all_j, strict=True)]
        return _least(all_j), _least(blended_j)

    def _head_start_j(self, place: int) -> float:
        return 0.0 if FACTORS[place] == 1 else _HEAD_START * self._unit_j

    def _here_is_better(self) -> bool:
        return self._spent_j[1] + _CLEARLY * self._unit_j <= self._spent_j[0]

    def _learn(self, idle_s: float) -> None:
        losses_j = self._losses.of(idle_s)
        self._spent_j = [
            spent_j * _KEPT + losses_j[leader] for spent_j, leader in zip(self._spent_j, self._leaders(), strict=True)
        ]
        self._overall.add(losses_j)
        self._contexts.setdefault(self._here, _Sums()).add(losses_j)
        self._seen += 1
        for index, speed in enumerate(_SPEEDS):
            step = max(speed, 1 / self._seen)  # a plain mean at first
            self._means[index] += step * (idle_s / self._unit_s - self._means[index])
        self._here = _context(self._means)

    def state(self) -> dict[str, Any]:
        """Return the sums and the running means."""
        return {
            "policy": "learned",
            "factors": [str(factor) for factor in FACTORS],
            "seen": self._seen,
            "means": list(self._means),
            "spent_j": list(self._spent_j),
            "overall": self._overall.to_json(),
            "contexts": [[list(context), sums.to_json()] for context, sums in self._contexts.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the sums of ``state``; they stay a good guess when the ladder was measured anew.

        Raises:
            IntegrityError: ``state`` is not one of this policy, or was altered.
        """
        try:
            seen, means, spent_j, overall, contexts = _parse(state)
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"The saved state of the sleep policy `learned` cannot be used: {error}. "
                "Delete it: the policy then learns afresh."
            ) from None
        self._seen, self._means, self._spent_j = seen, means, spent_j
        self._overall, self._contexts = overall, contexts
        self._here = _context(means)


class _Losses:
    """What following the descents at each factor costs: piecewise linear in the idle time."""

    def __init__(self, ladder: Ladder) -> None:
        curves = [_curve(ladder, factor) for factor in FACTORS]
        self._breaks_s = sorted({piece.begins_s for curve in curves for piece in curve})
        self._lines = [
            [_line(curve, break_s) for curve in curves]  # (candidates, 2): joules at zero, watts
            for break_s in self._breaks_s
        ]

    def of(self, idle_s: float) -> list[float]:
        """Return the joules above those of the lowest rung, one per candidate."""
        passed = bisect.bisect_left(self._breaks_s, idle_s)
        if not passed:
            return [0.0] * len(FACTORS)
        lines = self._lines[passed - 1]
        return [at_zero_j + power_w * idle_s for at_zero_j, power_w in lines]


@dataclass(frozen=True, kw_only=True)
class _Piece:
    begins_s: float
    spent_j: float  # by then, the wake that would end the period included
    power_w: float


def _curve(ladder: Ladder, factor: float) -> list[_Piece]:
    top, lowest = ladder.rungs[0], ladder.rungs[-1]
    pieces = [_Piece(begins_s=0.0, spent_j=0.0, power_w=top.power_w - lowest.power_w)]
    rested_j = 0.0
    for step in ladder.descents if factor < math.inf else ():
        rung, begins_s = ladder.rungs[step.rung], factor * step.after_s
        rested_j += pieces[-1].power_w * (begins_s - pieces[-1].begins_s)
        power_w = rung.power_w - lowest.power_w
        pieces.append(_Piece(begins_s=begins_s, spent_j=rested_j + rung.switch_j, power_w=power_w))
    return pieces


def _line(curve: list[_Piece], after_s: float) -> tuple[float, float]:
    """The curve just after a moment: joules at zero, watts."""
    piece = [piece for piece in curve if piece.begins_s <= after_s][-1]
    return piece.spent_j - piece.power_w * piece.begins_s, piece.power_w


class _Sums:
    """Discounted joules of every candidate, and the discounted number of idle periods."""

    __slots__ = ("losses_j", "weight")

    def __init__(self) -> None:
        self.weight = 0.0
        self.losses_j = [0.0] * len(FACTORS)

    def add(self, losses_j: list[float]) -> None:
        self.weight = self.weight * _KEPT + 1
        self.losses_j = [old * _KEPT + new for old, new in zip(self.losses_j, losses_j, strict=True)]

    def to_json(self) -> dict[str, Any]:
        return {"weight": self.weight, "losses_j": list(self.losses_j)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> _Sums:
        sums = cls()
        sums.weight = _finite([content["weight"]], 1)[0]
        sums.losses_j = _finite(content["losses_j"], len(FACTORS))
        if sums.weight < 0:
            raise ValueError(f"a weight of {sums.weight}")
        return sums


def _parse(
    state: dict[str, Any],
) -> tuple[int, list[float], list[float], _Sums, dict[tuple[int, ...], _Sums]]:
    if state["policy"] != "learned" or state["factors"] != [str(factor) for factor in FACTORS]:
        raise ValueError("it belongs to another policy or version")
    seen, means = state["seen"], _finite(state["means"], len(_SPEEDS))
    spent_j = _finite(state["spent_j"], 2)
    overall = _Sums.from_json(state["overall"])
    if not isinstance(seen, int) or seen < 0 or (seen > 0) != (overall.weight >= 1) or min(means) < 0:
        raise ValueError(f"{seen} idle periods of {means} break-even times, weighing {overall.weight}")
    contexts = {_key(key): _Sums.from_json(sums) for key, sums in state["contexts"]}
    return seen, means, spent_j, overall, contexts


def _least(losses_j: list[float]) -> int:
    return losses_j.index(min(losses_j))


def _context(means: list[float]) -> tuple[int, ...]:
    return tuple([_bin(mean) for mean in means])


def _bin(mean: float) -> int:
    if mean <= 0:
        return -_BINS
    return max(-_BINS, min(_BINS, round(math.log(mean) / _BIN)))


def _key(numbers: Any) -> tuple[int, ...]:
    key = tuple(int(number) for number in numbers)
    if len(key) != len(_SPEEDS):
        raise ValueError(f"a context has {len(key)} parts instead of {len(_SPEEDS)}")
    return key


def _finite(numbers: Any, count: int) -> list[float]:
    found = [float(number) for number in numbers]
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"expected {count} finite numbers, and found {numbers}")
    return found
