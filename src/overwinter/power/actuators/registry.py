"""The actuators by name: built in, or entry points in `overwinter.power_actuators`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from overwinter.errors import ConfigError, nearest
from overwinter.power.actuators.duty_cycle import open_duty_cycle
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.nvml import open_locked_clocks, open_power_limit
from overwinter.power.actuators.rapl import open_rapl
from overwinter.power.actuators.simulated import open_simulated
from overwinter.power.actuators.values import ActuatorSettings
from overwinter.power.actuators.zeusd import open_zeusd

ENTRY_POINT_GROUP = "overwinter.power_actuators"
AUTO = "auto"

Factory = Callable[[ActuatorSettings], Actuator]

_BUILT_IN: dict[str, Factory] = {
    "nvml": open_power_limit,
    "nvml_clocks": open_locked_clocks,
    "zeusd": open_zeusd,
    "rapl": open_rapl,
    "duty_cycle": open_duty_cycle,
    "simulated": open_simulated,
}
_TRIED = ("nvml", "zeusd", "rapl")  # by `auto`: GPUs draw most, so a machine with GPUs has its GPUs capped


def actuator_names() -> list[str]:
    """Return all names that the configuration may use."""
    return [AUTO, *_BUILT_IN, *sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))]


def open_actuator(name: str, settings: ActuatorSettings) -> Actuator:
    """Open an actuator.

    `auto` takes the first of NVML, zeusd and RAPL that has a device and the right to limit it; if none has
    the right, the first that has a device.

    Raises:
        ConfigError: an unknown name, or it cannot work on this machine, with the reason.
    """
    return _first_usable(settings) if name == AUTO else _factory(name)(settings)


def _factory(name: str) -> Factory:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    point = next((each for each in entry_points(group=ENTRY_POINT_GROUP) if each.name == name), None)
    if point is None:
        known = actuator_names()
        raise ConfigError(f"power.actuator={name!r} is unknown. Known: {', '.join(known)}.{nearest(name, known)}")
    factory: Factory = point.load()
    return factory


def _first_usable(settings: ActuatorSettings) -> Actuator:
    opened, reasons = list[Actuator](), list[str]()
    for name in _TRIED:
        try:
            actuator = _factory(name)(settings)
        except ConfigError as error:
            reasons.append(str(error).removeprefix("power.actuator").lstrip("=: "))
            continue
        opened.append(actuator)
        if actuator.devices() and actuator.permission().granted:
            break
    chosen = next((each for each in reversed(opened) if each.devices() and each.permission().granted), None)
    chosen = chosen or next((each for each in opened if each.devices()), None)
    for actuator in opened:
        if actuator is not chosen:
            actuator.close()
    if chosen is None:
        raise ConfigError("power.actuator=auto: nothing here takes a power limit. " + " ".join(reasons))
    return chosen
