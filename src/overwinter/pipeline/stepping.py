"""What the steps of a stage cost, apart from what it costs however many they are: starting, loading, saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overwinter.energy import EnergyReport


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """What came between the first report of progress and the latest.

    Attributes:
        steps: units of work.
        steps_j: joules.
        steps_s: seconds.
    """

    steps: float
    steps_j: float
    steps_s: float


class Stepping:
    """Follows reports of progress. The first step is not counted: it warms up what the others find warm.

    Args:
        read: the meter's reading of this moment; asked at the first report, and where the work is done.
    """

    def __init__(self, read: Callable[[], EnergyReport]) -> None:
        self._read = read
        self._first: tuple[float, EnergyReport] | None = None
        self._last: tuple[float, EnergyReport] | None = None

    def note(self, done: float, total: float, latest: EnergyReport) -> None:
        """Take a report of progress.

        Args:
            done: units of work done.
            total: units of work in all.
            latest: what the watch has read; until it reads again, it says nothing about the steps since.
        """
        if self._first is None:
            self._first = (done, self._read())
        elif done >= total:
            self._last = (done, self._read())
        elif latest.duration_s > (self._last or self._first)[1].duration_s:
            self._last = (done, latest)

    def costs(self) -> StepCosts | None:
        """Return what the steps cost so far; None before the second reading."""
        first, last = self._first, self._last
        if first is None or last is None or last[0] <= first[0]:
            return None
        return StepCosts(
            steps=last[0] - first[0],
            steps_j=max(0.0, last[1].energy_j - first[1].energy_j),
            steps_s=last[1].duration_s - first[1].duration_s,
        )
