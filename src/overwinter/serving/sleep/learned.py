"""A policy that learns the best time-outs from the arrivals.

Sixteen candidates, each a factor on the break-even times, from 0 (sleep at once) to infinity (never). For
each, the joules that it would have spent on every idle period so far are summed, and the least sum leads. The
initial sums are those of idle periods by Zipf's law, for which break-even is best: its neighbours soon overtake it,
distant candidates need more evidence.

The sums are kept with a long memory and with a short one, whose leaders differ where quiet and busy times, or
nights and days, need different time-outs. The joules of the two leaders are summed as well, and the short memory
is followed once it has clearly spent less: without such times, it only follows chance.

The idea is follow-the-leader, over candidates and again over leaders (Cesa-Bianchi and Lugosi, *Prediction,
Learning, and Games*, 2006). benchmarks/hibernation_policies.py chooses the constants, and evaluates them on other
requests.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from overwinter.errors import IntegrityError
from overwinter.serving.sleep.levels import SleepLevels
from overwinter.serving.sleep.timed import TimedDescent

# Break-even first, then by distance from it: the first of equals wins, and break-even is never far from the
# best.
FACTORS = (1, 1.4, 0.75, 2, 0.55, 2.8, 0.4, 4, 0.3, 0.2, 8, 0.15, 0.1, 0.05, 0, math.inf)


class Learned(TimedDescent):
    """The candidate time-outs that would have cost least so far, in all or lately.

    Attributes:
        head_start: The lead of break-even over a distant candidate, in sleeps and wakes.
        clearly: The required lead of the short memory's leader over the other, in sleeps and wakes.
        memories: The long and the short memory: the share of a sum that is kept when the next idle period is added.
    """

    reason = "learned"
    head_start = 1.0
    clearly = 2.0
    memories = (0.9998, 0.95)

    def __init__(self, sleep_levels: SleepLevels) -> None:
        super().__init__(sleep_levels)
        self._losses = _Losses(sleep_levels)
        unit_j = max(0.0, sleep_levels.levels[-1].switch_j)
        self._head_starts_j = [self.head_start * unit_j * _zipf_loss(factor) for factor in FACTORS]
        self._clearly_j = self.clearly * unit_j
        self._sums_j = [[0.0] * len(FACTORS) for _ in self.memories]  # (memories, candidates)
        self._leaders = [self._leader(sums_j) for sums_j in self._sums_j]
        self._spent_j = [0.0] * len(self.memories)  # by the leader of each memory

    def _choose(self) -> float:
        (long_j, short_j), (overall, lately) = self._spent_j, self._leaders
        return FACTORS[lately if short_j + self._clearly_j < long_j else overall]

    def _leader(self, sums_j: list[float]) -> int:
        led_j = [sum_j + start_j for sum_j, start_j in zip(sums_j, self._head_starts_j, strict=True)]
        return led_j.index(min(led_j))

    def _learn(self, idle_s: float) -> None:
        losses_j = self._losses.of(idle_s)
        self._spent_j = _added(self._spent_j, [losses_j[leader] for leader in self._leaders], self.memories[0])
        self._sums_j = [
            _added(sums_j, losses_j, kept) for sums_j, kept in zip(self._sums_j, self.memories, strict=True)
        ]
        self._leaders = [self._leader(sums_j) for sums_j in self._sums_j]

    def state(self) -> dict[str, Any]:
        """Return the sums."""
        return {
            "policy": "learned",
            "factors": [str(factor) for factor in FACTORS],
            "memories": list(self.memories),
            "sums_j": [list(sums_j) for sums_j in self._sums_j],
            "spent_j": list(self._spent_j),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue with the sums of ``state``; they remain a good guess after a new measurement of the sleep levels.

        Raises:
            IntegrityError: ``state`` is not from this policy, or was altered.
        """
        try:
            if any(state[key] != known for key, known in self.state().items() if key not in ("sums_j", "spent_j")):
                raise ValueError("it belongs to another policy or version")  # noqa: TRY301 -- one message for all faults
            sums_j = [_finite(sums_j, len(FACTORS)) for sums_j in state["sums_j"]]
            spent_j = _finite(state["spent_j"], len(self.memories))
            if len(sums_j) != len(self.memories):
                raise ValueError(f"{len(sums_j)} memories instead of {len(self.memories)}")  # noqa: TRY301
        except (KeyError, TypeError, ValueError) as error:
            found = f"no entry {error}" if isinstance(error, KeyError) else error
            raise IntegrityError(
                f"The saved state of the sleep policy `learned` cannot be used: {found}. "
                "Delete it: the policy then learns afresh."
            ) from None
        self._sums_j, self._spent_j = sums_j, spent_j
        self._leaders = [self._leader(sums) for sums in sums_j]


class _Losses:
    """The cost of following the descents at each factor: piecewise linear in the idle time."""

    def __init__(self, sleep_levels: SleepLevels) -> None:
        curves = [_curve(sleep_levels, factor) for factor in FACTORS]
        self._breaks_s = sorted({piece.begins_s for curve in curves for piece in curve})
        self._lines = [
            [_line(curve, break_s) for curve in curves]  # (candidates, 2): joules at zero, watts
            for break_s in self._breaks_s
        ]

    def of(self, idle_s: float) -> list[float]:
        """Return the joules above those of the lowest level, one per candidate."""
        passed = bisect.bisect_left(self._breaks_s, idle_s)
        if not passed:
            return [0.0] * len(FACTORS)
        lines = self._lines[passed - 1]
        return [at_zero_j + power_w * idle_s for at_zero_j, power_w in lines]


@dataclass(frozen=True, kw_only=True)
class _Piece:
    begins_s: float
    spent_j: float  # at that time, including the wake at the end of the period
    power_w: float


def _curve(sleep_levels: SleepLevels, factor: float) -> list[_Piece]:
    top, lowest = sleep_levels.levels[0], sleep_levels.levels[-1]
    pieces = [_Piece(begins_s=0.0, spent_j=0.0, power_w=top.power_w - lowest.power_w)]
    idle_j = 0.0
    for step in sleep_levels.descents if factor < math.inf else ():
        level, begins_s = sleep_levels.levels[step.level], factor * step.after_s
        idle_j += pieces[-1].power_w * (begins_s - pieces[-1].begins_s)
        power_w = level.power_w - lowest.power_w
        pieces.append(_Piece(begins_s=begins_s, spent_j=idle_j + level.switch_j, power_w=power_w))
    return pieces


def _line(curve: list[_Piece], after_s: float) -> tuple[float, float]:
    """The curve just after a moment: joules at zero, watts."""
    piece = [piece for piece in curve if piece.begins_s <= after_s][-1]
    return piece.spent_j - piece.power_w * piece.begins_s, piece.power_w


def _zipf_loss(factor: float) -> float:
    """Return a candidate's cost above break-even on idle periods by Zipf's law: P(longer than t) ~ 1/t, at most 1.

    Only the shape matters, since `Learned.head_start` scales it; it is truncated far from 1, so that 0 and infinity
    can be learned as well.
    """
    if not 0 < factor < math.inf:
        return 1.0
    return min(1.0, 2 * (math.log(factor) + 1 / factor - 1))


def _added(sums: list[float], new: list[float], kept: float) -> list[float]:
    return [old * kept + each for old, each in zip(sums, new, strict=True)]


def _finite(numbers: Iterable[Any], count: int) -> list[float]:
    found = [float(number) for number in numbers]
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"expected {count} finite numbers, and found {numbers}")
    return found
