"""Joules of a piece of work on the CPU: counted where there is a counter, else modelled from CPU-seconds.

Without a counter, CPU-seconds are all that is measured. They become joules by one factor for the whole
comparison, taken from the meter's model of the CPU, so that a ratio of joules is a ratio of CPU time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from overwinter.energy import EnergyMeter, EnergyReport
from overwinter.errors import ConfigError

_MODELLED = "modelled"
_IDLE_S = 0.1


@dataclass
class Reading:
    """What one piece of work drew; filled in when it ends.

    Attributes:
        energy_j: None where no counter saw it.
    """

    energy_j: float | None = None


class CpuJoules:
    """Reads a meter around pieces of work.

    Args:
        meter: the stage's.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter = meter
        with meter.window("idle") as idle:
            time.sleep(_IDLE_S)
        self._idle_w = _cpu_j(idle.close()) / idle.close().duration_s
        self.measured = _is_counted(idle.close())
        self._whole = meter.window("evaluation")
        self._begin_cpu_s = time.process_time()

    @contextmanager
    def piece(self) -> Iterator[Reading]:
        """Read a counter around the work inside; without a counter this costs nothing."""
        reading = Reading()
        if not self.measured:
            yield reading
            return
        with self._meter.window("answers") as window:
            yield reading
        reading.energy_j = _cpu_j(window.close())

    def joules_per_cpu_s(self, threads: int) -> float:
        """Close the comparison and return the modelled joules of one CPU-second of an undisturbed answer.

        That is the power of a busy thread above idle, and the idle power for as long as the second lasts.

        Args:
            threads: how many share one answer's CPU time.

        Raises:
            ConfigError: no meter covers the CPU.
        """
        cpu_s = time.process_time() - self._begin_cpu_s
        report = self._whole.close()
        energy_j = _cpu_j(report)
        if energy_j <= 0 or cpu_s <= 0:
            raise ConfigError(
                "No meter covers the CPU, on which answers are computed. Add `modelled` to energy.sources."
            )
        busy_w = max(0.0, energy_j - self._idle_w * report.duration_s) / cpu_s
        return busy_w + self._idle_w / threads


def _is_counted(report: EnergyReport) -> bool:
    sources = {part.source for part in report.components if part.device.startswith("cpu")}
    return bool(sources) and _MODELLED not in sources


def _cpu_j(report: EnergyReport) -> float:
    return sum(part.energy_j for part in report.components if part.device.startswith("cpu"))
