"""A limit as the user writes it, `150 W` or `40 %`, and as a decision for each device."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.errors import ConfigError
from overwinter.power.interface import Decision, DeviceState, Observation
from overwinter.units import parse_quantity


@dataclass(frozen=True, kw_only=True)
class LimitSetting:
    """A limit as it was written: watts, or a share of a device's range.

    Attributes:
        amount: watts, or the share (0 to 1).
        is_share: which of both.
    """

    amount: float
    is_share: bool

    def watts(self, min_w: float, max_w: float) -> float:
        """Return the limit of a device that takes ``min_w`` to ``max_w``."""
        return min_w + self.amount * (max_w - min_w) if self.is_share else self.amount


def read_limit(text: str | None, *, key: str) -> LimitSetting | None:
    """Read `150 W` or `40 %`; null is None.

    Raises:
        ConfigError: neither, or a share above 100 %, or no watts at all.
    """
    if text is None:
        return None
    quantity = parse_quantity(text, key=key, dimensions=("power", "share"))
    is_share = quantity.dimension == "share"
    if is_share and quantity.value > 1:
        raise ConfigError(f"{key}={text!r} is more than the whole range. A share is at most 100 %.")
    if not is_share and quantity.value <= 0:
        raise ConfigError(f"{key}={text!r} must be above 0 W.")
    return LimitSetting(amount=quantity.value, is_share=is_share)


def limited(
    observation: Observation, limit: LimitSetting | None, reason: str, clock_mhz: int | None = None
) -> Decision:
    """Limit every device as configured; None leaves the limits alone."""
    if limit is None:
        return Decision(clock_mhz=clock_mhz, reason=reason)
    limits = {device.name: _asked_w(device, limit) for device in observation.devices}
    return Decision(limits_w=limits, clock_mhz=clock_mhz, reason=reason)


def _asked_w(device: DeviceState, limit: LimitSetting) -> float:
    """Return what the user asked for, at most what an operator allows.

    Watts out of the device's range are not moved into it: the loop refuses them, says so, and the previous limit holds.
    """
    asked_w = limit.watts(device.min_w, device.max_w)
    return asked_w if asked_w > device.max_w else min(asked_w, max(device.ceiling_w, device.min_w))
