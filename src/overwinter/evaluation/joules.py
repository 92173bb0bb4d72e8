"""Joules of a piece of work on the CPU: from a counter if there is one, otherwise modelled from CPU-seconds.

Without a counter only CPU-seconds are measured. One factor for the whole comparison, from the meter's model of the
CPU, converts them to joules, so a ratio of joules is a ratio of CPU time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from overwinter.energy import Component, EnergyMeter, EnergyReport
from overwinter.errors import ConfigError

_MODELLED = "modelled"
_CPU_KINDS = ("cpu", "platform", "machine")
_IDLE_S = 0.1


@dataclass
class Reading:
    """Joules of one piece of work, set when it ends.

    Attributes:
        energy_j: counted joules of the CPU; None without a counter.
        gpu_j: counted joules of the GPU; None if none computes.
    """

    energy_j: float | None = None
    gpu_j: float | None = None


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates that convert CPU-seconds to joules, for work without a counter.

    Attributes:
        busy_j_per_cpu_s: joules above idle per CPU-second.
        idle_w: idle power of the whole CPU.
        threads: The number of threads that share one output's CPU time.
        gpu_idle_w: idle power of the GPU that computes; 0 if none does.
    """

    busy_j_per_cpu_s: float
    idle_w: float
    threads: int
    gpu_idle_w: float = 0.0

    def total_j(self, *, cpu_s: float, counted_j: float | None, gpu_s: float | None = None) -> float:
        """Return all joules of the CPU: counted ones, or those of the busy threads plus the idle CPU's.

        Args:
            cpu_s: CPU time of the threads.
            counted_j: joules of a counter; None without one.
            gpu_s: time during which the CPU waits for a GPU; None: the CPU computes.
        """
        if counted_j is not None:
            return counted_j
        return self.busy_j_per_cpu_s * cpu_s + self.idle_w * (cpu_s / self.threads if gpu_s is None else gpu_s)

    def above_idle_j(self, *, cpu_s: float, wall_s: float, counted_j: float | None) -> float:
        """Return the joules above those of an idle CPU."""
        if counted_j is not None:
            return max(0.0, counted_j - self.idle_w * wall_s)
        return self.busy_j_per_cpu_s * cpu_s


class CpuJoules:
    """Reader of a meter around pieces of work.

    Args:
        meter: the stage's meter.

    Attributes:
        measured: whether a counter reads the CPU.
        min_sample_s: shortest sample that the counters can resolve; 0: any.
    """

    min_sample_s = 0.0

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter = meter
        with meter.window("idle") as idle:
            time.sleep(_IDLE_S)
        self._idle_w = self._cpu_j(idle.close()) / idle.close().duration_s
        self.measured = _is_counted(idle.close())
        self._whole = meter.window("evaluation")
        self._begin_cpu_s = time.process_time()

    @contextmanager
    def piece(self) -> Iterator[Reading]:
        """Read a counter around the work inside; without a counter, do nothing."""
        reading = Reading()
        if not self.measured:
            yield reading
            return
        with self._meter.window("responses") as window:
            yield reading
        reading.energy_j = self._cpu_j(window.close())

    def rates(self, threads: int) -> Rates:
        """End the comparison and return its rates.

        Args:
            threads: The number of threads that share one output's CPU time.

        Raises:
            ConfigError: no meter covers the CPU.
        """
        cpu_s = time.process_time() - self._begin_cpu_s
        report = self._whole.close()
        energy_j = self._cpu_j(report)
        if energy_j <= 0 or cpu_s <= 0:
            raise ConfigError("No meter covers the CPU, which computes the outputs. Add `modelled` to energy.sources.")
        busy_j = max(0.0, energy_j - self._idle_w * report.duration_s)
        return Rates(busy_j_per_cpu_s=busy_j / cpu_s, idle_w=self._idle_w, threads=threads)

    @staticmethod
    def _cpu_j(report: EnergyReport) -> float:
        return sum(part.energy_j for part in _cpu_parts(report))


def _is_counted(report: EnergyReport) -> bool:
    sources = {part.source for part in _cpu_parts(report)}
    return bool(sources) and _MODELLED not in sources


def _cpu_parts(report: EnergyReport) -> list[Component]:
    """Return the components of the CPU, or of the smallest metered device that contains it."""
    for kind in _CPU_KINDS:
        found = [part for part in report.components if part.device.partition(":")[0] == kind]
        if found:
            return found
    return []
