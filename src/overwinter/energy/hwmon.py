"""Power and energy sensors of boards and servers, through Linux's hwmon tree.

A sensor of the whole machine includes the processor, the memory and the GPU, so it is used only if none of them is
measured otherwise. `hwmon_sensors` maps sensors to parts of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from overwinter.energy.channel import Channel
from overwinter.energy.counter import CounterGauge
from overwinter.energy.hwmon_sensors import MACHINE, Sensor, find_sensors, readable, whole_machine
from overwinter.energy.opening import Opening
from overwinter.energy.patient import Patient
from overwinter.energy.power_gauge import PowerGauge
from overwinter.energy.protocols import Gauge

_PEAK_W = 1500.0
_GUESS_W = {MACHINE: 15.0, "cpu": 60.0, "ram": 5.0}  # only if a sensor fails before it ever reported a power
_UNSEEN = "none without such sensors; in a container, mount the host's tree (energy.hwmon_root)"


class HwmonPowerGauge(PowerGauge):
    """A sensor's power, in watts, accurate within a few per cent."""

    source = "hwmon"
    relative_uncertainty = 0.10

    def __init__(self, sensor: Sensor) -> None:
        self.edge_s = sensor.edge_s
        super().__init__(Patient(sensor.read))


class HwmonEnergyGauge(CounterGauge):
    """A sensor's energy counter, in microjoules; the driver handles wraps."""

    source = "hwmon"
    relative_uncertainty = 0.15

    def __init__(self, sensor: Sensor, warn: Callable[[str], None]) -> None:
        self.edge_s = sensor.edge_s
        read = Patient(sensor.read)
        super().__init__(lambda: int(read()), device=str(sensor), warn=warn, unit_uj=1, peak_w=_PEAK_W)


def open_hwmon(opening: Opening) -> list[Channel]:
    """Open the sensor of the whole machine, or the sensors of parts that no earlier source measures."""
    sensors = find_sensors(Path(opening.energy.hwmon_root))
    silent = [sensor for sensor in sensors if sensor.kind and not readable(sensor)]
    if silent:
        opening.warn(f"hwmon: {', '.join(map(str, silent))} gives no credible value and is not counted")
    chosen = _chosen([sensor for sensor in sensors if readable(sensor)], opening.measured, opening.warn)
    return [_channel(sensor, opening) for sensor in chosen]


def hwmon_status(root: Path) -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    sensors = find_sensors(root)
    chosen = _chosen([sensor for sensor in sensors if readable(sensor)], set(), lambda _: None)
    if not chosen:
        seen = ", ".join(map(str, sensors))
        return False, f"no sensor of known place under {root}" + (f" (seen: {seen})" if seen else ""), _UNSEEN
    return True, ", ".join(f"{sensor.device} ({sensor.chip})" for sensor in chosen), ""


def _chosen(sensors: Sequence[Sensor], measured: set[str], warn: Callable[[str], None]) -> list[Sensor]:
    """Return sensors that do not include each other or a part that is already measured."""
    whole = whole_machine(sensors)
    if whole and not measured:
        return [_largest(whole, warn)] if sensors and whole[0] in sensors else whole
    return [sensor for sensor in sensors if sensor.kind in {"cpu", "ram"} - measured]


def _largest(whole: Sequence[Sensor], warn: Callable[[str], None]) -> Sensor:
    """Return the sensor of the whole machine that includes the others."""
    largest = max(whole, key=lambda sensor: sensor.read())
    for sensor in whole:
        if sensor is not largest:
            warn(f"hwmon: {sensor} is assumed to be a part of {largest} and is not counted")
    return largest


def _channel(sensor: Sensor, opening: Opening) -> Channel:
    gauge: Gauge = HwmonEnergyGauge(sensor, opening.warn) if sensor.counts else HwmonPowerGauge(sensor)
    return Channel(
        device=sensor.device,
        gauges=[gauge],
        guess_w=_GUESS_W[sensor.kind],
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
    )
