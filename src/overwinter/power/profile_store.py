"""The stored profile of one workload, found for whatever device turns out to be limited."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from overwinter.energy.machine import this_machine
from overwinter.power.actuators.interface import Actuator
from overwinter.power.interface import OperatingPoint
from overwinter.power.profile import Profile, ProfileKey, load_profile, save_profile

_SAME_HOLD = {"zeusd": "nvml"}  # the daemon sets the very limit that NVML does


class ProfileStore:
    """One file of one workload.

    Args:
        path: of the file.
        workload: digest of what makes the work what it is; see `workload_digest`.
        writes: whether what is learned is kept; otherwise the file is only read.
    """

    def __init__(self, path: Path, *, workload: str, writes: bool) -> None:
        self.path = path
        self._workload, self._writes = workload, writes
        self._key: ProfileKey | None = None

    def of(self, actuator: Actuator) -> tuple[OperatingPoint, ...]:
        """Return what is stored for the devices of ``actuator``; nothing where there is no file yet.

        Raises:
            ConfigError: the file was made for another device, driver or workload.
            IntegrityError: it is no profile.
        """
        self._key = profile_key(actuator, self._workload)
        return load_profile(self.path, self._key).points if self.path.exists() else ()

    def keep(self, points: Sequence[OperatingPoint]) -> None:
        """Write what is known now, if this store writes.

        Raises:
            OverwinterError: it cannot be written.
        """
        if self._writes and self._key is not None and points:
            save_profile(self.path, Profile(key=self._key, points=tuple(points)))


def profile_key(actuator: Actuator, workload: str) -> ProfileKey:
    """Return what a profile made here, now, under this kind of limit, holds for."""
    devices = actuator.devices()
    on_gpus = bool(devices) and all(device.startswith("gpu:") for device in devices)
    models, version = _gpus(devices) if on_gpus else ({this_machine().cpu_name}, platform.release())
    limited_by = _SAME_HOLD.get(actuator.name, actuator.name)
    return ProfileKey(
        device_model=f"{len(devices)} x {', '.join(sorted(models))}",
        driver=f"{limited_by} {version}",
        workload=workload,
    )


def _gpus(devices: Sequence[str]) -> tuple[set[str], str]:
    """Return the models of GPUs, and the driver's version; the actuator has opened NVML."""
    import pynvml

    boards = [pynvml.nvmlDeviceGetHandleByIndex(int(device.partition(":")[2])) for device in devices]
    return {_text(pynvml.nvmlDeviceGetName(board)) for board in boards}, _text(pynvml.nvmlSystemGetDriverVersion())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
