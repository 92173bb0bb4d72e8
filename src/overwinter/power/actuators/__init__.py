"""Ways of capping devices: NVML power limits and locked clocks, zeusd, RAPL, duty cycle, simulated devices.

`interface.Actuator` is what each offers, one file each; `registry` finds them by name or by entry point. An
actuator only reads and sets: that what it sets is put back, however the run ends, is the guard's.
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
