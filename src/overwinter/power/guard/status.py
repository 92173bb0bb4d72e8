"""Status of power limits on this machine: devices, permissions, and settings that runs hold or have left behind."""

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
        actuator: actuator that sets it.
        device: name as in energy.json.
        unit: `W` or `MHz`.
        minimum: the lowest supported value.
        maximum: the highest supported value.
        default: the vendor's default.
        current: the current setting; None if the device does not report it.
        enforced: the value in force.
        may_set: whether this process may set it.
        who: who may set it; empty if this process may.
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
    """A setting that runs hold or have left behind.

    Attributes:
        setting: name of the setting on this machine.
        device: name as in energy.json; None if nothing is set.
        previous: the value to restore; None if nothing is set.
        ours: the value set last; None if nothing is set.
        holders: process ids of living runs.
        state: `held`, `left behind` by a killed run and its killed watchdog, or `stale`, from before a reboot.
    """

    setting: str
    device: str | None
    previous: float | None
    ours: float | None
    holders: tuple[int, ...]
    state: str


@dataclass(frozen=True, kw_only=True)
class PowerStatus:
    """Status of all devices and journals.

    Attributes:
        devices: settings that can be limited.
        unavailable: actuator, or one of its devices -> why it is unusable on this machine.
        journals: settings that runs hold or have left behind.
    """

    devices: tuple[DeviceStatus, ...]
    unavailable: dict[str, str]
    journals: tuple[JournalStatus, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def power_status(settings: ActuatorSettings, actuators: Sequence[str] = _ACTUATORS) -> PowerStatus:
    """Return the status of every actuator and every journal."""
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
    """Return the settings that runs hold or have left behind."""
    return [status for slot in _slots() if (status := _looked_at(slot)) is not None]


def restore_left_behind() -> list[str]:
    """Restore settings that killed runs have left and no living run holds; return a line per setting.

    Raises:
        OverwinterError: a setting cannot be restored.
    """
    reported, failures = list[str](), list[str]()
    for slot in _slots():
        try:
            reported += _restored(slot)
        except OSError as error:  # the other settings are restored anyway
            failures.append(f"{Path(slot.folder).name} cannot be restored: {error}.")
    if failures:
        raise OverwinterError("\n".join([*reported, *failures, "Run the command as root."]))
    return reported


def _restored(slot: Slot) -> list[str]:
    with slot.mutex():
        journal = slot.journal()
        if journal is None or slot.living():
            return []
        return slot.restore(perform) or [f"{journal.get('device')} was restored to {journal.get('previous'):g}"]


def _described(actuator: Actuator, unavailable: dict[str, str]) -> list[DeviceStatus]:
    """Return the status of each device; add those that do not respond to ``unavailable``."""
    # Only actuators whose devices can be lost have this attribute.
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
