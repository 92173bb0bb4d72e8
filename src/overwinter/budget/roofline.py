"""The cost of a stage on hardware on which nothing has run, modelled from public figures: a wide range.

Work that is bound by arithmetic speeds up as the peak rate does, work that is bound by memory as the bandwidth does
(the roofline model; Williams, Waterman, Patterson, CACM 52(4), 2009), and work that is bound by neither, as of small
models, not at all. Which of them a stage is, a forecast does not know: the speed-up lies between the least and the most
of the three. An accelerator at work draws from a fifth of its design power up to all of it, and keeps its host busy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.budget.forecasting import Forecast
from overwinter.budget.ranges import Range

if TYPE_CHECKING:
    from overwinter.config.groups.energy import HardwareConfig

_J_PER_KWH = 3.6e6
# Decoding on an H200 draws from 137 W of its 700 W (arXiv 2605.11999).
_LEAST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What a device can do at most, and what it draws.

    Attributes:
        tflops: Its peak rate, in 1e12 operations per second.
        memory_gb_per_s: Its memory bandwidth.
        low_w: Its power while it hardly works.
        high_w: Its design power.
        accelerator: Whether it is an accelerator, which needs a host.
    """

    tflops: float
    memory_gb_per_s: float
    low_w: float
    high_w: float
    accelerator: bool


def peak_of(hardware: HardwareConfig, *, threads: int, thread_w: float) -> Peak:
    """Return the figures of a machine: of its accelerator, or else of some of its threads.

    Args:
        hardware: The group `hardware/`.
        threads: The number of threads that the work uses.
        thread_w: The power of one busy thread.
    """
    board = hardware.accelerator
    if board.name is None:
        power_w = threads * thread_w
        return Peak(
            tflops=threads * hardware.cpu_gflops_per_thread / 1000,
            memory_gb_per_s=threads * hardware.cpu_memory_gb_per_s,
            low_w=power_w * hardware.cpu_idle_fraction,
            high_w=power_w,
            accelerator=False,
        )
    tdp_w = board.tdp_w or 0.0
    return Peak(
        tflops=board.peak_tflops or 0.0,
        memory_gb_per_s=board.memory_gb_per_s or 0.0,
        low_w=_LEAST_SHARE * tdp_w,
        high_w=tdp_w,
        accelerator=True,
    )


def modelled(known: Forecast, here: Peak, there: Peak, *, intensity_g_per_kwh: float | None) -> Forecast:
    """Return the forecast of a stage on other hardware, with the basis `modelled`; `unknown` if it is unknown here.

    Args:
        known: Its forecast on this machine.
        here: This machine.
        there: The other hardware.
        intensity_g_per_kwh: The carbon intensity there; without it, grams are not known.
    """
    if known.duration_s is None or known.energy_j is None:
        return Forecast(stage=known.stage, basis="unknown")
    ups = (1.0, there.tflops / here.tflops, there.memory_gb_per_s / here.memory_gb_per_s)
    duration_s = Range(
        low=known.duration_s.low / max(ups),
        expected=known.duration_s.expected / math.sqrt(min(ups) * max(ups)),
        high=known.duration_s.high / min(ups),
    )
    host_w = 0.0
    if there.accelerator and not here.accelerator and known.duration_s.expected > 0:
        host_w = known.energy_j.expected / known.duration_s.expected
    energy_j = Range(
        low=duration_s.low * there.low_w,
        expected=duration_s.expected * (math.sqrt(there.low_w * there.high_w) + host_w),
        high=duration_s.high * (there.high_w + host_w),
    )
    return Forecast(
        stage=known.stage,
        basis="modelled",
        energy_j=energy_j,
        carbon_g=None if intensity_g_per_kwh is None else energy_j.scaled(intensity_g_per_kwh / _J_PER_KWH),
        duration_s=duration_s,
    )
