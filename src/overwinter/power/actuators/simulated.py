"""Simulated devices as files, for tests and for trying a policy: ``<root>/<name>/{limit_uw,range_w}``.

``range_w`` contains minimum, maximum and default in watts, ``limit_uw`` the limit in microwatts. The environment
variable OVERWINTER_SIMULATED_DEVICES names the root. The watchdog restores a file like a real limit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from overwinter.errors import ConfigError
from overwinter.power.actuators.values import (
    ActuatorSettings,
    DeniedError,
    DeviceLostError,
    Limits,
    Permission,
)

ROOT_VARIABLE = "OVERWINTER_SIMULATED_DEVICES"


class SimulatedLimit:
    """Limits of simulated devices.

    Args:
        root: folder of the devices; `make` adds one.
    """

    name = "simulated"
    quantity: Literal["power_w", "clock_mhz"] = "power_w"
    note = "simulated: no real device is limited"

    def __init__(self, root: Path) -> None:
        self._folders = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}

    @staticmethod
    def make(root: Path, device: str, *, minimum_w: float, maximum_w: float, limit_w: float) -> Path:
        """Create a device, and return the file with its limit in microwatts."""
        folder = root / device
        folder.mkdir(parents=True)
        (folder / "range_w").write_text(f"{minimum_w} {maximum_w} {maximum_w}")
        (folder / "limit_uw").write_text(str(round(limit_w * 1e6)))
        return folder / "limit_uw"

    def devices(self) -> tuple[str, ...]:
        """Return the names of the devices."""
        return tuple(self._folders)

    def permission(self) -> Permission:
        """Return whether limits may be set: a file ``denied`` in a device's folder forbids it."""
        denied = any((folder / "denied").exists() for folder in self._folders.values())
        return Permission(granted=not denied, who="remove the file `denied`" if denied else "")

    def limits(self, device: str) -> Limits:
        """Return the range and the current limit, in watts."""
        minimum_w, maximum_w, default_w = map(float, self._read(device, "range_w").split())
        return Limits(minimum=minimum_w, maximum=maximum_w, default=default_w, current=self.enforced(device))

    def apply(self, device: str, value: float) -> None:
        """Set the limit, in watts."""
        self._read(device, "range_w")
        if not self.permission().granted:
            raise DeniedError(f"{device}: this process may not change its settings; {self.permission().who}.")
        (self._folders[device] / "limit_uw").write_text(str(round(value * 1e6)))

    def enforced(self, device: str) -> float:
        """Return the limit, in watts."""
        return int(self._read(device, "limit_uw")) / 1e6

    def bound(self, device: str) -> bool | None:  # noqa: ARG002 -- simulated devices draw no power
        """Return None: unknown; the power drawn decides."""
        return None

    def key(self, device: str) -> str:
        """Return the name of the setting."""
        return f"simulated-{device}.power"

    def snapshot(self, device: str) -> Mapping[str, int]:
        """Return the current limit, in microwatts."""
        return {"limit_uw": int(self._read(device, "limit_uw"))}

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return the command that restores the limit."""
        path = str(self._folders[device] / "limit_uw")
        return [{"kind": "file", "path": path, **snapshot, "ours_mw": [round(each * 1e3) for each in ours]}]

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def _read(self, device: str, name: str) -> str:
        try:
            return (self._folders[device] / name).read_text()
        except OSError as error:
            raise DeviceLostError(f"{device} does not respond: {error}.") from None


def open_simulated(settings: ActuatorSettings) -> SimulatedLimit:
    """Open the devices under the configured folder."""
    root = settings.simulated_root or Path(os.environ.get(ROOT_VARIABLE, ""))
    devices = root.glob("*/range_w") if root.name else iter(())
    if next(devices, None) is None:
        raise ConfigError(
            f"power.actuator=simulated: {str(root)!r} contains no simulated device. Set {ROOT_VARIABLE} to a folder "
            "with <device>/range_w (such as '100 300 300') and <device>/limit_uw."
        )
    return SimulatedLimit(root)
