"""The cost of a stage's steps, without its fixed costs: starting, loading, saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.energy import EnergyReport


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """The cost between the first and the latest report of progress.

    Attributes:
        steps: Units of work.
        steps_j: Joules.
        steps_s: Seconds.
    """

    steps: float
    steps_j: float
    steps_s: float


class Stepping:
    """Computes the cost of steps from reports of progress. The first step is excluded, as a warm-up.

    Args:
        read: A function that reads the meter now; called at the first report and at the end of the work.
    """

    def __init__(self, read: Callable[[], EnergyReport]) -> None:
        self._read = read
        self._first: tuple[float, EnergyReport] | None = None
        self._last: tuple[float, EnergyReport] | None = None

    def note(self, done: float, total: float, latest: EnergyReport) -> None:
        """Record a report of progress.

        Args:
            done: Units of work done.
            total: Units of work in total.
            latest: The watch's latest reading; steps since then are not in it.
        """
        if self._first is None:
            self._first = (done, self._read())
        elif done >= total:
            self._last = (done, self._read())
        elif latest.duration_s > (self._last or self._first)[1].duration_s:
            self._last = (done, latest)

    def costs(self) -> StepCosts | None:
        """Return the cost of the steps so far; None before the second reading."""
        first, last = self._first, self._last
        if first is None or last is None or last[0] <= first[0]:
            return None
        return StepCosts(
            steps=last[0] - first[0],
            steps_j=max(0.0, last[1].energy_j - first[1].energy_j),
            steps_s=last[1].duration_s - first[1].duration_s,
        )
