"""Opens the actuator that ``power.actuator`` names; `auto` opens the first that is usable on this machine."""

from __future__ import annotations

from overwinter.errors import ConfigError
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import ActuatorSettings
from overwinter.registries import POWER_ACTUATORS

_TRIED = ("nvml", "zeusd", "rapl")  # by `auto`, GPUs first, since they draw most


def open_actuator(name: str, settings: ActuatorSettings) -> Actuator:
    """Open a built-in actuator or one from an entry point.

    Raises:
        ConfigError: the name is unknown, or the actuator cannot work on this machine, with the reason.
    """
    actuator: Actuator = POWER_ACTUATORS.find(name)(settings)
    return actuator


def open_first_usable(settings: ActuatorSettings) -> Actuator:
    """Open the first of NVML, zeusd and RAPL that has a device and permission to limit it.

    Without permission for any, open the first that has a device.

    Raises:
        ConfigError: none has a device, with the reasons.
    """
    opened, reasons = list[Actuator](), list[str]()
    for name in _TRIED:
        try:
            actuator = open_actuator(name, settings)
        except ConfigError as error:
            reasons.append(str(error).removeprefix("power.actuator").lstrip("=: "))
            continue
        opened.append(actuator)
        if _is_usable(actuator):
            break
    chosen = next((each for each in reversed(opened) if _is_usable(each)), None)
    chosen = chosen or next((each for each in opened if each.devices()), None)
    for actuator in opened:
        if actuator is not chosen:
            actuator.close()
    if chosen is None:
        raise ConfigError("power.actuator=auto: no device on this machine supports power limits. " + " ".join(reasons))
    return chosen


def _is_usable(actuator: Actuator) -> bool:
    return bool(actuator.devices()) and actuator.permission().granted
