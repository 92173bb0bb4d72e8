"""A self-test of the meters: idle for a moment, then busy on one core, and a look at what each device's meter says.

It finds counters that are listed but stand still, run backwards, or say what no machine draws, before a run relies on
them. A processor's meter must also show more power when a core is busy; a GPU, which stays idle here, need not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.energy.opened import open_meter
from overwinter.energy.report import MODELLED, Component, EnergyReport

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig

_MOST_W = 20_000.0  # more than a whole rack server with eight GPUs draws
_RISES = ("cpu", "machine", "platform")  # devices whose power a busy core raises


@dataclass(frozen=True, kw_only=True)
class MeterCheck:
    """What a device's meter said in the self-test.

    Attributes:
        device: The device, such as `cpu` or `gpu:0`.
        source: What read it, such as `rapl` or `modelled`.
        idle_w: Mean power while this process slept.
        busy_w: Mean power while it kept one core busy.
        fault: What is wrong, in words; empty if nothing is.
    """

    device: str
    source: str
    idle_w: float
    busy_w: float
    fault: str


def check_meters(energy: EnergyConfig, hardware: HardwareConfig, *, duration_s: float = 0.5) -> list[MeterCheck]:
    """Meter an idle and a busy time, and judge each device's figures.

    Args:
        energy: The group `energy/`.
        hardware: The group `hardware/`.
        duration_s: The length of each of the two times.

    Raises:
        ConfigError: no source can be read on this machine.
    """
    with open_meter(energy, hardware) as meter:
        with meter.window("idle") as idle:
            time.sleep(duration_s)
        with meter.window("busy") as busy:
            _keep_a_core_busy(duration_s)
    return judge(idle.read(), busy.read())


def _keep_a_core_busy(duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        pass


def judge(idle: EnergyReport, busy: EnergyReport) -> list[MeterCheck]:
    """Compare the reports of an idle and of a busy time, device by device."""
    before_w = {each.device: each.average_w for each in idle.components}
    return [
        MeterCheck(
            device=each.device,
            source=each.source,
            idle_w=before_w.get(each.device, 0.0),
            busy_w=each.average_w,
            fault=_fault(each, before_w.get(each.device, 0.0)),
        )
        for each in busy.components
    ]


def _fault(busy: Component, idle_w: float) -> str:
    kind, _, number = busy.device.partition(":")
    if number and busy.source == MODELLED:  # only what is found by its counter has a number
        return "its counter stands still or cannot be read, so its power is modelled"
    if busy.average_w <= 0:
        return "the meter stands still"
    if busy.average_w > _MOST_W:
        return f"{busy.average_w:.0f} W is more than a machine draws"
    if kind in _RISES and busy.average_w <= idle_w:
        return f"no more power with a core busy ({busy.average_w:.1f} W) than idle ({idle_w:.1f} W)"
    return ""
