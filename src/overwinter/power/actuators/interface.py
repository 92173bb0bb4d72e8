"""The protocol of actuators; each implementation has its own file in this folder.

An entry point in ``overwinter.power_actuators`` is a function that takes `ActuatorSettings` and returns the actuator,
or raises `ConfigError` with the reason why it cannot work on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from overwinter.power.actuators.values import Limits, Permission


class Actuator(Protocol):
    """Limits devices. Values are in watts, or in megahertz if ``quantity`` is ``clock_mhz``.

    Attributes:
        name: name in the configuration.
        quantity: the limited quantity.
        note: a note for the user about this kind of limit; may be empty.
    """

    name: str
    quantity: Literal["power_w", "clock_mhz"]
    note: str

    def devices(self) -> tuple[str, ...]:
        """Return the devices, named as in energy.json: ``gpu:0``, ``cpu:package-0``."""

    def permission(self) -> Permission:
        """Return whether this process may set limits, and otherwise who may. Changes nothing."""

    def limits(self, device: str) -> Limits:
        """Return the range, the default and the current setting. Raises DeviceLostError."""

    def apply(self, device: str, value: float) -> None:
        """Set a limit. Raises DeniedError, DeviceLostError."""

    def enforced(self, device: str) -> float:
        """Return the limit that is in force, read back. Raises DeviceLostError."""

    def bound(self, device: str) -> bool | None:
        """Return whether the limit slows the work down at this moment; None: unknown."""

    def key(self, device: str) -> str | None:
        """Return a name of the setting that is the same in every process; None: the setting ends with this process."""

    def snapshot(self, device: str) -> Mapping[str, int]:
        """Return the current state, from which `commands` can restore it."""

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return the commands that restore ``snapshot``, if one of ``ours`` is still set; see `restore_commands`."""

    def close(self) -> None:
        """Release the driver."""
