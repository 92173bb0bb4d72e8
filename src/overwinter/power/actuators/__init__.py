"""Actuators: NVML power limits and locked clocks, zeusd, RAPL, duty cycle, simulated devices.

Each implements `interface.Actuator` in its own file; `registry` finds them by name or entry point. An actuator only
reads and sets limits; the guard restores them, however the run ends.
"""

from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.registry import open_actuator
from overwinter.power.actuators.values import (
    ActuatorSettings,
    DeniedError,
    DeviceLostError,
    LimitError,
    Limits,
    Permission,
)

__all__ = [
    "Actuator",
    "ActuatorSettings",
    "DeniedError",
    "DeviceLostError",
    "LimitError",
    "Limits",
    "Permission",
    "open_actuator",
]
