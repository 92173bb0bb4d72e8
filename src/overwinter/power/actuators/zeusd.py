"""Power limits through zeusd, the daemon of Zeus that sets them for unprivileged processes.

It serves HTTP over a unix socket (https://ml.energy/zeus/zeusd/api/). Reading needs no privileges, so limits are read
through NVML and only set through the daemon. GPUs are matched by PCI address.
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
    """The power limit of each GPU, set by zeusd.

    Args:
        socket: path of the daemon's socket.
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
            raise ConfigError(f"power.actuator=zeusd: {socket} does not respond like zeusd 0.5: {error}.") from None

    def apply(self, device: str, value: float) -> None:
        """Set the limit through the daemon, in watts."""
        target = f"/gpu/set_power_limit?gpu_ids={self._id(device)}&power_limit_mw={round(value * 1e3)}&block=true"
        try:
            zeusd(self._socket, "POST", target)
        except PermissionError as error:
            raise DeniedError(f"{device}: {error}. Is its group {_CONTROL} enabled, and ZEUSD_TOKEN set?") from None
        except OSError as error:
            raise DeviceLostError(f"{device}: {error}.") from None

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return the command that restores the limit through the daemon."""
        ours_mw = [round(value * 1e3) for value in ours]
        command = {"kind": "zeusd", "socket": self._socket, "gpu_id": self._id(device), "ours_mw": ours_mw}
        return [{**command, **snapshot}]

    def permission(self) -> Permission:
        """Return whether the daemon's API for setting limits is enabled."""
        if _CONTROL in self._groups:
            return Permission(granted=True)
        return Permission(granted=False, who=f"start zeusd with the API group {_CONTROL}")

    def _id(self, device: str) -> int:
        key = self.key(device)
        if key not in self._ids:
            raise DeviceLostError(f"{device}: zeusd at {self._socket} lists no GPU at {key.removesuffix('.power')}.")
        return self._ids[key]


def find_socket(configured: str | None) -> str | None:
    """Return the path of zeusd's socket on this machine, or None."""
    candidates = [configured] if configured else [os.environ.get("ZEUSD_SOCK_PATH"), *_PLACES]
    return next((place for place in candidates if place and Path(place).is_socket()), None)


def open_zeusd(settings: ActuatorSettings) -> ZeusdPowerLimit:
    """Open the power limits of the visible GPUs through the daemon."""
    socket = find_socket(settings.zeusd_socket)
    if socket is None:
        raise ConfigError("power.actuator=zeusd: zeusd's socket was not found. Start zeusd, or set ZEUSD_SOCK_PATH.")
    return ZeusdPowerLimit(socket)
