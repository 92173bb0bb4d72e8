"""What a way of capping devices must offer; implementations are beside this file, one each.

Registered as entry points in ``overwinter.power_actuators``: a function that takes `ActuatorSettings` and
returns the actuator, or raises `ConfigError` with the reason why it cannot work on this machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from overwinter.power.actuators.values import Limits, Permission


class Actuator(Protocol):
    """Caps devices. Values are in watts, or in megahertz where ``quantity`` is ``clock_mhz``.

    Attributes:
        name: as the configuration names it.
        quantity: what is limited.
        note: what the user must know about this kind of cap; empty where there is nothing.
    """

    name: str
    quantity: Literal["power_w", "clock_mhz"]
    note: str

    def devices(self) -> tuple[str, ...]:
        """Return the devices, named as in energy.json: ``gpu:0``, ``cpu:package-0``."""

    def permission(self) -> Permission:
        """Return whether this process may set limits, and who could. Changes nothing."""

    def limits(self, device: str) -> Limits:
        """Return the range, the default and what is set now. Raises DeviceLostError."""

    def apply(self, device: str, value: float) -> None:
        """Set a limit. Raises DeniedError, DeviceLostError."""

    def enforced(self, device: str) -> float:
        """Read back what really holds. Raises DeviceLostError."""

    def bound(self, device: str) -> bool | None:
        """Return whether the limit holds the work back at this moment; None: cannot be known."""

    def key(self, device: str) -> str | None:
        """Return a name of the setting that is the same in every process; None: it ends with this process."""

    def snapshot(self, device: str) -> Mapping[str, int]:
        """Return all that `commands` needs to put the present state back."""

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return what puts ``snapshot`` back, as long as one of ``ours`` is set; see `restore_commands`."""

    def close(self) -> None:
        """Let go of the driver."""
