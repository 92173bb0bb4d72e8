"""Power limits through zeusd, the daemon of Zeus that sets them for processes without the right to.

It speaks HTTP over a unix socket (https://ml.energy/zeus/zeusd/api/). Reading needs no rights, so what NVML
can tell is read from NVML, and only the setting goes through the daemon. GPUs are matched by PCI address.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError
from overwinter.power.actuators.nvml import NvmlPowerLimit
from overwinter.power.actuators.values import ActuatorSettings, DeniedError, DeviceLostError, Permission
from overwinter.power.guard.restore_commands import zeusd

_PLACES = ("/run/zeusd/zeusd.sock", "/var/run/zeusd.sock")
_CONTROL = "gpu-control"


class ZeusdPowerLimit(NvmlPowerLimit):
    """The board's power limit, set by zeusd.

    Args:
        socket: of the daemon.
    """

    name = "zeusd"

    def __init__(self, socket: str) -> None:
        super().__init__()
        self._socket = socket
        try:
            discovered = zeusd(socket, "GET", "/discover")
            self._ids = {f"gpu-{gpu['pci_address'].lower()}.power": int(gpu["id"]) for gpu in discovered["gpus"]}
            self._groups = list(discovered["enabled_api_groups"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            self.close()
            raise ConfigError(f"power.actuator=zeusd: {socket} does not answer as zeusd 0.5 does: {error}.") from None

    def apply(self, device: str, value: float) -> None:
        """Ask the daemon to set the limit, in watts."""
        target = f"/gpu/set_power_limit?gpu_ids={self._id(device)}&power_limit_mw={round(value * 1e3)}&block=true"
        try:
            zeusd(self._socket, "POST", target)
        except PermissionError as error:
            raise DeniedError(f"{device}: {error}. Is its group {_CONTROL} enabled, and ZEUSD_TOKEN set?") from None
        except OSError as error:
            raise DeviceLostError(f"{device}: {error}.") from None

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return what sets it again, through the daemon."""
        ours_mw = [round(value * 1e3) for value in ours]
        command = {"kind": "zeusd", "socket": self._socket, "gpu_id": self._id(device), "ours_mw": ours_mw}
        return [{**command, **snapshot}]

    def permission(self) -> Permission:
        """Return whether the daemon serves what sets limits."""
        if _CONTROL in self._groups:
            return Permission(granted=True)
        return Permission(granted=False, who=f"zeusd could, if it were started with the API group {_CONTROL}")

    def _id(self, device: str) -> int:
        key = self.key(device)
        if key not in self._ids:
            raise DeviceLostError(
                f"{device}: zeusd at {self._socket} does not name a GPU at {key.removesuffix('.power')}."
            )
        return self._ids[key]


def find_socket(configured: str | None) -> str | None:
    """Return where zeusd listens on this machine, if it does."""
    candidates = [configured] if configured else [os.environ.get("ZEUSD_SOCK_PATH"), *_PLACES]
    return next((place for place in candidates if place and Path(place).is_socket()), None)


def open_zeusd(settings: ActuatorSettings) -> ZeusdPowerLimit:
    """Open the limits of the visible GPUs, through the daemon."""
    socket = find_socket(settings.zeusd_socket)
    if socket is None:
        raise ConfigError("power.actuator=zeusd: no socket of zeusd is there. Start it, or set ZEUSD_SOCK_PATH.")
    return ZeusdPowerLimit(socket)
