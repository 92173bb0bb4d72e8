"""The power policy `threshold`: a lower limit while the grid's carbon intensity is above a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config import setting
from overwinter.power import CappedPowerConfig, Decision, DeviceState, Observation


@dataclass
class ThresholdPowerConfig(CappedPowerConfig):
    """What stands in YAML under `power`, and makes the policy: the entry point in `overwinter.power_policies`.

    A wrong key, type or range is refused before anything runs.
    """

    above_g_per_kwh: float = setting("carbon intensity from which on the limit holds", at_least=0)
    share: float = setting("of each device's range: 0 is its lowest limit, 1 its highest", at_least=0, at_most=1)

    def open(self) -> Threshold:
        """Make the policy."""
        return Threshold(above_g_per_kwh=self.above_g_per_kwh, share=self.share)


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
