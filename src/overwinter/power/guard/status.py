"""What can be limited on this machine, by whom, and what runs hold or have left behind. Changes nothing unasked."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError, OverwinterError
from overwinter.power.actuators import Actuator, ActuatorSettings, DeviceLostError, Permission, open_actuator
from overwinter.power.guard.journal import Slot, boot_id
from overwinter.power.guard.restore_commands import perform
from overwinter.power.guard.state_folder import known_state_folder

_ACTUATORS = ("nvml", "nvml_clocks", "zeusd", "rapl")


@dataclass(frozen=True, kw_only=True)
class DeviceStatus:
    """One setting of one device.

    Attributes:
        actuator: what sets it.
        device: as in energy.json.
        unit: `W` or `MHz`.
        minimum: the lowest that it takes.
        maximum: the highest.
        default: the maker's.
        current: what is set; None where the device does not report.
        enforced: what really holds.
        may_set: whether this process may.
        who: who could; empty where this process may.
    """

    actuator: str
    device: str
    unit: str
    minimum: float
    maximum: float
    default: float
    current: float | None
    enforced: float
    may_set: bool
    who: str


@dataclass(frozen=True, kw_only=True)
class JournalStatus:
    """What runs hold, or have left behind.

    Attributes:
        setting: its name on this machine.
        device: as in energy.json; None where nothing is set.
        previous: what it goes back to; None where nothing is set.
        ours: what was set last; None where nothing is.
        holders: process ids of living runs.
        state: `held`, `left behind` by a killed run and its killed watchdog, or `stale`, from before a restart.
    """

    setting: str
    device: str | None
    previous: float | None
    ours: float | None
    holders: tuple[int, ...]
    state: str


@dataclass(frozen=True, kw_only=True)
class PowerStatus:
    """The whole picture.

    Attributes:
        devices: what can be limited.
        unavailable: actuator, or one device of it -> why it cannot be used here.
        journals: what runs hold or have left.
    """

    devices: tuple[DeviceStatus, ...]
    unavailable: dict[str, str]
    journals: tuple[JournalStatus, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def power_status(settings: ActuatorSettings, actuators: Sequence[str] = _ACTUATORS) -> PowerStatus:
    """Look at every actuator and every journal."""
    devices: list[DeviceStatus] = []
    unavailable: dict[str, str] = {}
    for name in actuators:
        try:
            with contextlib.closing(open_actuator(name, settings)) as actuator:
                devices += _described(actuator, unavailable)
        except (ConfigError, DeviceLostError) as error:
            unavailable[name] = str(error).partition(": ")[2] or str(error)
    return PowerStatus(devices=tuple(devices), unavailable=unavailable, journals=tuple(journals()))


def journals() -> list[JournalStatus]:
    """Return what runs hold or have left behind, by setting."""
    return [status for slot in _slots() if (status := _looked_at(slot)) is not None]


def restore_left_behind() -> list[str]:
    """Put back what killed runs have left, where no living run holds the setting; return what was done.

    Raises:
        OverwinterError: a setting cannot be put back.
    """
    reported, failures = list[str](), list[str]()
    for slot in _slots():
        try:
            reported += _restored(slot)
        except OSError as error:  # the other settings have a right to be put back anyway
            failures.append(f"{Path(slot.folder).name} cannot be put back: {error}.")
    if failures:
        raise OverwinterError("\n".join([*reported, *failures, "Are you root?"]))
    return reported


def _restored(slot: Slot) -> list[str]:
    with slot.mutex():
        journal = slot.journal()
        if journal is None or slot.living():
            return []
        return slot.restore(perform) or [f"{journal.get('device')} is back at {journal.get('previous'):g}"]


def _described(actuator: Actuator, unavailable: dict[str, str]) -> list[DeviceStatus]:
    """Describe each device; one that does not answer is noted in ``unavailable``."""
    # An attribute that only actuators over devices that can be lost have.
    unavailable |= {f"{actuator.name} {device}": why for device, why in getattr(actuator, "lost", {}).items()}
    permission = actuator.permission()
    described = []
    for device in actuator.devices():
        try:
            described.append(_device(actuator, device, permission))
        except DeviceLostError as error:
            unavailable[f"{actuator.name} {device}"] = str(error)
    return described


def _device(actuator: Actuator, device: str, permission: Permission) -> DeviceStatus:
    return DeviceStatus(
        actuator=actuator.name,
        device=device,
        unit="W" if actuator.quantity == "power_w" else "MHz",
        **asdict(actuator.limits(device)),
        enforced=actuator.enforced(device),
        may_set=permission.granted,
        who=permission.who,
    )


def _slots() -> list[Slot]:
    folder = known_state_folder()
    if folder is None:
        return []
    return [Slot(str(each)) for each in sorted(folder.iterdir()) if (each / "mutex").exists()]


def _looked_at(slot: Slot) -> JournalStatus | None:
    with slot.mutex():
        journal, living = slot.journal() or {}, slot.living()
    if not journal and not living:
        return None
    left = "left behind" if journal.get("boot_id") == boot_id() else "stale"
    return JournalStatus(
        setting=Path(slot.folder).name,
        device=journal.get("device"),
        previous=journal.get("previous"),
        ours=journal["ours"][-1] if journal.get("ours") else None,
        holders=tuple(int(each["pid"]) for each in living if "pid" in each),
        state="held" if living else left,
    )
