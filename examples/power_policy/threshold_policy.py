"""The power policy `threshold`: a lower limit while the grid's carbon intensity is above a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from overwinter.config.groups import CappedPowerConfig
from overwinter.errors import ConfigError
from overwinter.power import Decision, DeviceState, Observation


@dataclass
class ThresholdPowerConfig(CappedPowerConfig):
    """What stands in YAML under `power`; a wrong key or type is refused before anything runs.

    Attributes:
        above_g_per_kwh: the intensity from which on the limit holds.
        share: of each device's range; 0 is its lowest limit, 1 its highest.
    """

    above_g_per_kwh: float = MISSING
    share: float = MISSING


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Limits every device while the intensity is high; see `ThresholdPowerConfig` for both figures.

    It is pure: an observation in, a decision out, nothing kept in between. So `overwinter simulate power` replays
    the very object that acts while a stage runs.
    """

    above_g_per_kwh: float
    share: float

    def decide(self, observation: Observation) -> Decision:
        """Answer one observation; what is not known is answered by the previous limits."""
        intensity = observation.intensity_g_per_kwh
        if intensity is None:
            return Decision(reason="the intensity is not known")
        if intensity < self.above_g_per_kwh:
            return Decision(reason=f"{intensity:.0f} g/kWh is clean enough")
        limits_w = {device.name: self._limit_w(device) for device in observation.devices}
        return Decision(limits_w=limits_w, reason=f"{intensity:.0f} g/kWh is dirty")

    def _limit_w(self, device: DeviceState) -> float:
        wanted_w = device.min_w + self.share * (device.max_w - device.min_w)
        return min(wanted_w, device.ceiling_w)  # what an operator has set is never raised


def open_threshold(config: ThresholdPowerConfig) -> Threshold:
    """Make the policy from the group `power`: the entry point in `overwinter.power_policies`.

    Raises:
        ConfigError: a value that cannot be used.
    """
    if not 0 <= config.share <= 1:
        raise ConfigError(f"power.share={config.share} must be between 0 and 1.")
    return Threshold(above_g_per_kwh=config.above_g_per_kwh, share=config.share)
