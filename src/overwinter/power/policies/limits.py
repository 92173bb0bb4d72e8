"""Limits in the configuration, `150 W` or `40 %`, and their decision for each device."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.errors import ConfigError
from overwinter.power.interface import Decision, DeviceState, Observation
from overwinter.units import parse_quantity


@dataclass(frozen=True, kw_only=True)
class LimitSetting:
    """A configured limit: watts, or a share of a device's range.

    Attributes:
        amount: watts, or the share (0 to 1).
        is_share: whether ``amount`` is a share.
    """

    amount: float
    is_share: bool

    def watts(self, min_w: float, max_w: float) -> float:
        """Return the limit in watts for a device that supports ``min_w`` to ``max_w``."""
        return min_w + self.amount * (max_w - min_w) if self.is_share else self.amount


def read_limit(text: str | None, *, key: str) -> LimitSetting | None:
    """Parse `150 W` or `40 %`; null is None.

    Raises:
        ConfigError: the text is neither, or the share is above 100 %, or the watts are not positive.
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
    """Return the decision with the configured limit on every device; None keeps the limits."""
    if limit is None:
        return Decision(clock_mhz=clock_mhz, reason=reason)
    limits = {device.name: _asked_w(device, limit) for device in observation.devices}
    return Decision(limits_w=limits, clock_mhz=clock_mhz, reason=reason)


def _asked_w(device: DeviceState, limit: LimitSetting) -> float:
    """Return the configured limit, at most what an operator allows.

    Watts above the device's range are not clamped: the loop refuses and reports them, and the previous limit holds.
    """
    asked_w = limit.watts(device.min_w, device.max_w)
    return asked_w if asked_w > device.max_w else min(asked_w, max(device.ceiling_w, device.min_w))
