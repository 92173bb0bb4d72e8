"""The power and energy sensors of Linux's hwmon tree whose part of the machine is known.

A sensor reports watts or joules, but not of which part; that is known only for some drivers and labels, and unknown
rails are ignored. https://docs.kernel.org/hwmon/sysfs-interface.html

- `ina3221` on NVIDIA's Jetson boards: in1 to in3 in millivolts with curr1 to curr3 in milliamperes. Where a rail is the
  board's input, it contains the others; AGX boards have no such rail, and their known rails add up to the board.
- `power_meter` (ACPI): the whole machine, as a mean over an interval.
- `smpro_hwmon` (Ampere Altra) and `apm_xgene`: the processor's supplies, and the memory's.
- `amd_energy`: an energy counter per socket, and per core within it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from overwinter.energy.kernel_files import folders, number, number_or_none, word

MACHINE = "machine"
_WHOLE = {"vdd_in", "pom_5v_in", "total", "total power", "power total", "system", "system power", "board power"}
_BOARDS = (  # of AGX Orin, Thor and AGX Xavier; VDDQ_VDD2_1V8AO is fed by VIN_SYS_5V0
    {"vdd_gpu_soc", "vdd_cpu_cv", "vin_sys_5v0"},
    {"vdd_gpu", "vdd_cpu_soc_mss", "vin_sys_5v0"},
    {"gpu", "cpu", "soc", "cv", "vddrq", "sys5v"},
)
_PARTS = (
    ("apm_xgene", re.compile(r"cpu power"), "cpu"),
    ("smpro_hwmon", re.compile(r"(power\d )?(core vrd|soc|rca vrd)"), "cpu"),
    ("smpro_hwmon", re.compile(r"(power\d )?dimm vrd\d*"), "ram"),
    ("amd_energy", re.compile(r"esocket\d+"), "cpu"),
    ("", re.compile(r"(soc|cpu|package) power"), "cpu"),
)
_READING = re.compile(r"(power|energy)(\d+)_(input|average)")
_RAIL_CHIP, _RAILS = "ina3221", (1, 2, 3)
_UPDATE_S = 0.1
_MAX_W = 100_000.0


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A sensor whose part of the machine is known.

    Attributes:
        kind: `machine`, `cpu` or `ram`; empty for a rail that may be a part of `machine`.
        chip: the driver's name.
        label: The label of the reading; empty if it has none.
        read: A function that returns watts, or microjoules if `counts`.
        counts: Whether it is an energy counter.
        edge_s: The maximum age of a reading.
    """

    kind: str
    chip: str
    label: str
    read: Callable[[], float]
    counts: bool = False
    edge_s: float = _UPDATE_S

    @property
    def device(self) -> str:
        """Its name in energy.json."""
        return f"{self.kind}:{self.label.lower().replace(' ', '-')}" if self.label else self.kind

    def __str__(self) -> str:
        return f"{self.chip} {self.label}".strip()


def find_sensors(root: Path) -> list[Sensor]:
    """Return every sensor whose part is known or follows from its neighbours."""
    # Drivers of the old kind have their files in the device's own folder.
    found = (list(_of(folder)) or list(_of(folder / "device")) for folder in folders(root))
    return [sensor for sensors in found for sensor in sensors]


def whole_machine(sensors: Iterable[Sensor]) -> list[Sensor]:
    """Return the sensors that together measure the whole machine; empty if there are none."""
    known = list(sensors)
    inputs = [sensor for sensor in known if sensor.kind == MACHINE]
    if inputs:
        return inputs
    rails = {sensor.label.lower(): sensor for sensor in known if not sensor.kind}
    board = next((names for names in _BOARDS if names <= rails.keys()), set[str]())
    return [_placed(rails[name]) for name in sorted(board)]


def readable(sensor: Sensor) -> bool:
    """Return whether the sensor reports a plausible value now."""
    try:
        value = sensor.read()
    except (OSError, ValueError):
        return False
    return value >= 0 and (sensor.counts or value < _MAX_W)


def _of(folder: Path) -> Iterator[Sensor]:
    chip = word(folder / "name").lower()
    if chip == _RAIL_CHIP:
        yield from _rails(folder, chip)
        return
    seen: set[tuple[str, str]] = set()
    for match in _readings(folder):
        quantity, place, variant = match.groups()
        label = word(folder / f"{quantity}{place}_label")
        kind = _kind(chip, label)
        if kind and (quantity, place) not in seen:
            seen.add((quantity, place))
            yield _sensor(folder, chip, kind, label, quantity, place, variant)


def _readings(folder: Path) -> list[re.Match[str]]:
    """Return the folder's readings: energies before powers, and current values before means."""
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError:
        return []
    found = [match for name in names if (match := _READING.fullmatch(name))]
    return sorted(found, key=lambda match: (match[1], match[3] != "input", int(match[2])))


def _sensor(folder: Path, chip: str, kind: str, label: str, quantity: str, place: str, variant: str) -> Sensor:
    path = folder / f"{quantity}{place}_{variant}"
    interval_ms = number_or_none(folder / f"{quantity}{place}_average_interval") if variant == "average" else None
    interval_ms = interval_ms or number_or_none(folder / "update_interval") or 0
    counts = quantity == "energy"
    return Sensor(
        kind=kind,
        chip=chip,
        label=label,
        read=partial(number, path) if counts else partial(_watts, path),
        counts=counts,
        edge_s=max(_UPDATE_S, interval_ms / 1e3),
    )


def _rails(folder: Path, chip: str) -> Iterator[Sensor]:
    for place in _RAILS:
        label = word(folder / f"in{place}_label")
        if label and label != "NC":
            kind = MACHINE if label.lower() in _WHOLE else ""
            read = partial(_rail_w, folder / f"in{place}_input", folder / f"curr{place}_input")
            yield Sensor(kind=kind, chip=chip, label=label, read=read)


def _kind(chip: str, label: str) -> str:
    text = label.lower()
    if text in _WHOLE or (chip == "power_meter" and not text):
        return MACHINE
    return next((kind for name, labels, kind in _PARTS if name in ("", chip) and labels.fullmatch(text)), "")


def _placed(rail: Sensor) -> Sensor:
    return Sensor(kind=MACHINE, chip=rail.chip, label=rail.label, read=rail.read, edge_s=rail.edge_s)


def _watts(path: Path) -> float:
    return number(path) / 1e6


def _rail_w(voltage_mv: Path, current_ma: Path) -> float:
    return abs(number(voltage_mv) * number(current_ma)) / 1e6  # the sign is that of the shunt's mounting
