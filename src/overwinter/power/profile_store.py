"""The stored profile of one workload, checked against the devices that are limited."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from overwinter.energy.machine import this_machine
from overwinter.power.actuators.interface import Actuator
from overwinter.power.interface import OperatingPoint
from overwinter.power.profile import Profile, ProfileKey, load_profile, save_profile

_SAME_LIMIT = {"zeusd": "nvml"}  # the daemon sets the same limit as NVML


class ProfileStore:
    """The profile file of one workload.

    Args:
        path: path of the file.
        workload: digest of the workload; see `workload_digest`.
        writes: whether to store new points; otherwise the file is only read.
    """

    def __init__(self, path: Path, *, workload: str, writes: bool) -> None:
        self.path = path
        self._workload, self._writes = workload, writes
        self._key: ProfileKey | None = None

    def of(self, actuator: Actuator) -> tuple[OperatingPoint, ...]:
        """Return the points stored for the devices of ``actuator``; empty if there is no file yet.

        Raises:
            ConfigError: the file was measured for another device, driver or workload.
            IntegrityError: the file is not a profile.
        """
        self._key = profile_key(actuator, self._workload)
        return load_profile(self.path, self._key).points if self.path.exists() else ()

    def keep(self, points: Sequence[OperatingPoint]) -> None:
        """Write the points, if this store writes.

        Raises:
            OverwinterError: the file cannot be written.
        """
        if self._writes and self._key is not None and points:
            save_profile(self.path, Profile(key=self._key, points=tuple(points)))


def profile_key(actuator: Actuator, workload: str) -> ProfileKey:
    """Return the key of a profile measured on this machine with this actuator."""
    devices = actuator.devices()
    on_gpus = bool(devices) and all(device.startswith("gpu:") for device in devices)
    models, version = _gpus(devices) if on_gpus else ({this_machine().cpu_name}, platform.release())
    limited_by = _SAME_LIMIT.get(actuator.name, actuator.name)
    return ProfileKey(
        device_model=f"{len(devices)} x {', '.join(sorted(models))}",
        driver=f"{limited_by} {version}",
        workload=workload,
    )


def _gpus(devices: Sequence[str]) -> tuple[set[str], str]:
    """Return the models of GPUs, and the driver's version; the actuator has initialized NVML."""
    import pynvml

    boards = [pynvml.nvmlDeviceGetHandleByIndex(int(device.partition(":")[2])) for device in devices]
    return {_text(pynvml.nvmlDeviceGetName(board)) for board in boards}, _text(pynvml.nvmlSystemGetDriverVersion())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
