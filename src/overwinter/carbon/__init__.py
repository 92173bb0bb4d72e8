"""What a kilowatt-hour weighs: carbon intensity with its source, its kind (average or marginal) and its time.

The group `carbon/` names a source, whose `CarbonConfig` opens it: `constant`, `country` (CodeCarbon's table), `trace`
(a CSV file), or a service on the network (`uk_grid`, `electricity_maps`, `watttime`), which `cached.LiveSource` asks
in the background and `fallback.FallbackChain` stands in for while it does not answer. Where no provider reports a
forecast, `past` makes one from `history` or from a trace's past, with the regressions of `forecast`. No torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.carbon.intensity import Intensity, IntensitySource
    from overwinter.carbon.settings import CarbonConfig, FallibleCarbonConfig, LiveCarbonConfig

__all__ = ["CarbonConfig", "FallibleCarbonConfig", "Intensity", "IntensitySource", "LiveCarbonConfig"]

# Loaded when first used: settings are read without asking any source.
_HOMES = {
    "CarbonConfig": "settings",
    "FallibleCarbonConfig": "settings",
    "Intensity": "intensity",
    "IntensitySource": "intensity",
    "LiveCarbonConfig": "settings",
}

__getattr__ = lazily(__name__, _HOMES)
