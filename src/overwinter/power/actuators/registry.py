"""From ``power.actuator`` to an actuator; `auto` looks for the first one that can be used here."""

from __future__ import annotations

from overwinter.errors import ConfigError
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import ActuatorSettings
from overwinter.registries import POWER_ACTUATORS

_TRIED = ("nvml", "zeusd", "rapl")  # by `auto`: GPUs draw most, so a machine with GPUs has its GPUs capped


def open_actuator(name: str, settings: ActuatorSettings) -> Actuator:
    """Open an actuator, built in or an entry point's.

    Raises:
        ConfigError: an unknown name, or it cannot work on this machine, with the reason.
    """
    actuator: Actuator = POWER_ACTUATORS.find(name)(settings)
    return actuator


def open_first_usable(settings: ActuatorSettings) -> Actuator:
    """Open the first of NVML, zeusd and RAPL that has a device and the right to limit it.

    If none has the right, the first that has a device.

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
        raise ConfigError("power.actuator=auto: nothing here takes a power limit. " + " ".join(reasons))
    return chosen


def _is_usable(actuator: Actuator) -> bool:
    return bool(actuator.devices()) and actuator.permission().granted
