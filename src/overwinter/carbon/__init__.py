"""Carbon intensity of electricity, with its source, its kind (average or marginal) and its time.

The group `carbon/` selects a source, and its `CarbonConfig` opens it: `constant`, `country` (CodeCarbon's table),
`trace` (a CSV file), or a network service (`uk_grid`, `electricity_maps`, `watttime`). `cached.LiveSource` queries a
service in the background, and `fallback.FallbackChain` replaces it while it does not respond. Where the provider has
no forecast, `past` makes one from `history` or from a trace's past, with the regressions of `forecast`. `cleanest`
finds the best time to start within a deadline. No torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.carbon.intensity import Intensity, IntensitySource
    from overwinter.carbon.settings import CarbonConfig, FallibleCarbonConfig, LiveCarbonConfig

__all__ = ["CarbonConfig", "FallibleCarbonConfig", "Intensity", "IntensitySource", "LiveCarbonConfig"]

# Loaded on first use: reading settings queries no source.
_HOMES = {
    "CarbonConfig": "settings",
    "FallibleCarbonConfig": "settings",
    "Intensity": "intensity",
    "IntensitySource": "intensity",
    "LiveCarbonConfig": "settings",
}

__getattr__ = lazily(__name__, _HOMES)
