"""Opens a control loop from the configuration: the actuator, and the fall-back without permission to limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.energy.machine import this_machine, thread_power_w
from overwinter.energy.ranks import local_rank
from overwinter.errors import ConfigError
from overwinter.power.actuators import (
    Actuator,
    ActuatorSettings,
    DeniedError,
    DeviceLostError,
    Limits,
    open_actuator,
)
from overwinter.power.control.loop import PowerControl
from overwinter.power.control.observing import Sources
from overwinter.power.guard.guard import Guard
from overwinter.registries import POWER_ACTUATORS

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig
    from overwinter.power.interface import Job, PowerPolicy
    from overwinter.power.profile_store import ProfileStore
    from overwinter.power.settings import CappedPowerConfig

_ABOVE_IDLE = 1.05  # a pause cannot lower the power below idle


def open_control(
    power: CappedPowerConfig,
    policy: PowerPolicy,
    *,
    energy: EnergyConfig,
    hardware: HardwareConfig,
    sources: Sources,
    warn: Callable[[str], None],
    job: Job | None = None,
    profiles: ProfileStore | None = None,
) -> PowerControl:
    """Return a control loop, to be used in a `with` block.

    Args:
        power: the group `power/`.
        policy: the policy that it selects.
        energy: the group `energy/`, for the powercap tree.
        hardware: the group `hardware/`, for the range of the duty cycle.
        sources: sources of the readings; a duty cycle can limit the devices that they meter.
        warn: reports one line to the user.
        job: deadline and cost of a pause.
        profiles: stored profiles of this work.

    Raises:
        ConfigError: the actuator is unknown; with `on_denied: fail`, also if it does not work.
    """
    # If several ranks share a node, local rank 0 sets the limits for all of them.
    leads = local_rank(os.environ) == 0
    opening = _Opening(power, actuator_settings(energy, hardware, sources), warn)
    return PowerControl(
        policy,
        opening.guard() if leads else None,
        sources=sources,
        warn=warn,
        name=power.policy,
        job=job,
        profiles=profiles,
        interval_s=power.interval_s,
        clocks=opening.clocks if leads else None,
        on_denied=opening.denied,
    )


def actuator_settings(energy: EnergyConfig, hardware: HardwareConfig, sources: Sources) -> ActuatorSettings:
    """Return the settings that actuators are opened with."""
    return ActuatorSettings(
        powercap_root=Path(energy.rapl_root),
        duty_devices=duty_devices(sources.energy_j(), hardware),
        energy_j=lambda device: sources.energy_j().get(device, 0.0),
    )


def duty_devices(metered: Iterable[str], hardware: HardwareConfig) -> dict[str, Limits]:
    """Return the devices that a duty cycle can limit, with their range in watts: the GPUs, or else the CPU.

    Args:
        metered: devices with a meter, named as in energy.json.
        hardware: the group `hardware/`.
    """
    names = list(metered)
    gpus = {name: limits for name in names if name.startswith("gpu:") and (limits := _gpu_range(name))}
    return gpus or _cpu_ranges([name for name in names if name.partition(":")[0] == "cpu"], hardware)


def _gpu_range(name: str) -> Limits | None:
    from overwinter.power.actuators.nvml import NvmlPowerLimit

    try:
        boards = NvmlPowerLimit()
    except ConfigError:
        return None
    try:
        return boards.limits(name) if name in boards.devices() else None
    except DeviceLostError:
        return None
    finally:
        boards.close()


def _cpu_ranges(names: list[str], hardware: HardwareConfig) -> dict[str, Limits]:
    machine = this_machine()
    thread_w, _ = thread_power_w(
        machine,
        cpu_tdp_w=hardware.cpu_tdp_w,
        cpu_threads=hardware.cpu_threads,
        cpu_w_per_thread=hardware.cpu_w_per_thread,
    )
    busy_w = thread_w * machine.allowed_threads / max(1, len(names))
    idle_w = busy_w * hardware.cpu_idle_fraction * _ABOVE_IDLE
    return {name: Limits(minimum=idle_w, maximum=busy_w, default=busy_w, current=busy_w) for name in names}


class _Opening:
    """Opens guards, and falls back as configured in `on_denied`."""

    def __init__(self, power: CappedPowerConfig, settings: ActuatorSettings, warn: Callable[[str], None]) -> None:
        self._power, self._settings, self._warn = power, settings, warn

    def guard(self) -> Guard | None:
        """Return a guard over the configured actuator, or its fall-back."""
        name = self._power.actuator
        open_it = POWER_ACTUATORS.find(name)  # an unknown name is an error, which no fall-back hides
        try:
            actuator = open_it(self._settings)
        except ConfigError as error:
            return self.denied(DeniedError(str(error)))
        if actuator.quantity != "power_w":
            actuator.close()
            raise ConfigError(
                f"power.actuator={name} does not set power limits; policies that lock clocks use it by themselves."
            )
        permission = actuator.permission()
        if permission.granted:
            return self._guarded(actuator)
        actuator.close()
        return self.denied(DeniedError(f"This process may not set power limits; {permission.who}."))

    def clocks(self) -> Guard:
        """Return a guard over locked clocks."""
        return self._guarded(open_actuator("nvml_clocks", self._settings))

    def denied(self, error: DeniedError) -> Guard | None:
        """Fall back as configured.

        Raises:
            DeniedError: `on_denied: fail`.
        """
        if self._power.on_denied == "fail":
            raise DeniedError(
                f"{error}\nOr set power.on_denied to duty_cycle (pauses between steps) or ignore."
            ) from None
        if self._power.on_denied == "ignore":
            self._warn(f"{error} Power is not limited (power.on_denied=ignore).".replace("\n", " "))
            return None
        self._warn(f"{error} The work pauses between steps instead (power.on_denied=duty_cycle).".replace("\n", " "))
        return self._guarded(open_actuator("duty_cycle", self._settings))

    def _guarded(self, actuator: Actuator) -> Guard:
        return Guard(actuator, warn=self._warn, share=self._power.share_device == "share")
