"""A bounded log of power samples: a long run is kept in full at a coarser step."""

from __future__ import annotations

from dataclasses import dataclass

_MOST = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerSample:
    """One row of power.csv.

    Attributes:
        time_s: Seconds since the meter's start.
        device: As in `Component`.
        power_w: Mean power since the previous sample, or the power the device reports.
        limit_w: Power limit in force; None for none.
    """

    time_s: float
    device: str
    power_w: float
    limit_w: float | None


class SampleLog:
    """Keeps samples; when there are too many, every second step is dropped, also for later samples."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._steps: list[tuple[PowerSample, ...]] = []
        self._count = self._stride = 0
        self._stride = 1

    def add(self, step: tuple[PowerSample, ...]) -> None:
        """Keep the samples of one moment, unless its step is dropped."""
        if self._count % self._stride == 0:
            self._steps.append(step)
        self._count += 1
        if len(self._steps) * max(1, len(step)) > self._most:
            self._steps = self._steps[::2]
            self._stride *= 2

    def all(self) -> tuple[PowerSample, ...]:
        """Return the kept samples, in order of time."""
        return tuple(sample for step in self._steps for sample in step)
