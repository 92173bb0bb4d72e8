"""CPU packages through Linux's powercap tree: the long-term and the short-term constraint of each package.

https://docs.kernel.org/power/powercap/powercap.html. The limit is set on the long-term constraint; the short-term
one keeps its ratio to it, so that bursts stay bounded. Only root may write.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from overwinter.energy.rapl_zones import find_zones, one_of_each
from overwinter.errors import ConfigError
from overwinter.power.actuators.values import (
    ActuatorSettings,
    DeniedError,
    DeviceLostError,
    LimitError,
    Limits,
    Permission,
)

_LONG, _SHORT = "constraint_0", "constraint_1"
_LOWEST_SHARE = 0.2  # of the highest limit, if the zone does not report its lowest; below, the work barely progresses
_WHO = "root may, and users with write permission for constraint_*_power_limit_uw"


class RaplLimit:
    """Limits of CPU packages.

    Args:
        root: root of the powercap tree.
    """

    name = "rapl"
    quantity: Literal["power_w", "clock_mhz"] = "power_w"
    note = ""

    def __init__(self, root: Path) -> None:
        zones = one_of_each(find_zones(root))
        self._folders = {
            zone.device: zone.folder
            for zone in zones
            if zone.domain == "cpu" and (zone.folder / f"{_LONG}_power_limit_uw").exists()
        }
        if not self._folders:
            raise ConfigError(
                f"power.actuator=rapl: no CPU package under {root} has a power limit.\n"
                "In a container, mount the host's tree and set energy.rapl_root."
            )

    def devices(self) -> tuple[str, ...]:
        """Return the packages."""
        return tuple(self._folders)

    def permission(self) -> Permission:
        """Return whether the constraints can be written."""
        files = [folder / f"{_LONG}_power_limit_uw" for folder in self._folders.values()]
        granted = all(os.access(file, os.W_OK) for file in files)
        return Permission(granted=True) if granted else Permission(granted=False, who=_WHO)

    def limits(self, device: str) -> Limits:
        """Return the range and the current long-term limit, in watts."""
        current_uw = self._read(device, f"{_LONG}_power_limit_uw")
        highest_uw = self._optional(device, f"{_LONG}_max_power_uw") or current_uw
        maximum_uw = max(current_uw, highest_uw)
        minimum_uw = self._optional(device, f"{_LONG}_min_power_uw") or _LOWEST_SHARE * maximum_uw
        return Limits(
            minimum=minimum_uw / 1e6,
            maximum=maximum_uw / 1e6,
            default=highest_uw / 1e6,
            current=current_uw / 1e6,
        )

    def apply(self, device: str, value: float) -> None:
        """Set both constraints, in watts: when lowering, the long-term one first; when raising, the short-term one."""
        if self._optional(device, "enabled", absent=1) == 0:
            raise LimitError(
                f"{device}: a limit has no effect while {self._folders[device]}/enabled is 0.\nWrite 1 to it, as root."
            )
        now_uw = self._constraints(device)
        long_uw = round(value * 1e6)
        wanted = {_LONG: long_uw}
        if _SHORT in now_uw:
            wanted[_SHORT] = _short_uw(now_uw, long_uw)
        for constraint in sorted(wanted, reverse=long_uw > now_uw[_LONG]):
            self._write(device, f"{constraint}_power_limit_uw", wanted[constraint])

    def enforced(self, device: str) -> float:
        """Return the long-term limit, in watts, as the hardware rounded it."""
        return self._read(device, f"{_LONG}_power_limit_uw") / 1e6

    def bound(self, device: str) -> bool | None:  # noqa: ARG002 -- powercap does not report it
        """Return None: unknown; the power drawn decides."""
        return None

    def key(self, device: str) -> str:
        """Return the name of the setting."""
        return f"{self._folders[device].name}.power"

    def snapshot(self, device: str) -> Mapping[str, int]:
        """Return both constraints, in microwatts."""
        return self._constraints(device)

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return the commands that restore both, the short-term one first, since limits are raised."""
        ours_uw = {_LONG: [round(value * 1e6) for value in ours]}
        ours_uw[_SHORT] = [_short_uw(snapshot, value_uw) for value_uw in ours_uw[_LONG]] if _SHORT in snapshot else []
        return [
            {
                "kind": "file",
                "path": str(self._folders[device] / f"{constraint}_power_limit_uw"),
                "limit_uw": snapshot[constraint],
                "ours_mw": [value_uw // 1000 for value_uw in ours_uw[constraint]],
            }
            for constraint in sorted(snapshot, reverse=True)
        ]

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def _constraints(self, device: str) -> dict[str, int]:
        limits_uw = {_LONG: self._read(device, f"{_LONG}_power_limit_uw")}
        short_uw = self._optional(device, f"{_SHORT}_power_limit_uw")
        return limits_uw | ({_SHORT: short_uw} if short_uw else {})

    def _read(self, device: str, name: str) -> int:
        try:
            return int((self._folders[device] / name).read_text())
        except (OSError, ValueError) as error:
            raise DeviceLostError(f"{device}: {self._folders[device] / name} cannot be read: {error}.") from None

    def _optional(self, device: str, name: str, absent: int = 0) -> int:
        try:
            return int((self._folders[device] / name).read_text())
        except (OSError, ValueError):
            return absent

    def _write(self, device: str, name: str, value_uw: int) -> None:
        path = self._folders[device] / name
        try:
            path.write_text(str(value_uw))
        except PermissionError:
            raise DeniedError(f"{device}: {path} is not writable for this process; {_WHO}.") from None
        except OSError as error:
            raise DeviceLostError(f"{device}: {path} cannot be written: {error}.") from None


def _short_uw(constraints: Mapping[str, int], long_uw: int) -> int:
    """Return the short-term limit with the same ratio to the long-term one."""
    return round(long_uw * max(1.0, constraints[_SHORT] / constraints[_LONG])) if constraints[_LONG] else long_uw


def open_rapl(settings: ActuatorSettings) -> RaplLimit:
    """Open the packages under the configured root."""
    return RaplLimit(settings.powercap_root)
