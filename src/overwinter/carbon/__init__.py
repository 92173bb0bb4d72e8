"""What a kilowatt-hour weighs: carbon intensity with its source, its kind (average or marginal) and its time.

`open_source` opens what the group `carbon/` names: `constant`, `country` (CodeCarbon's table), `trace` (a CSV
file), or a service on the network (`uk_grid`, `electricity_maps`, `watttime`), which `cached.LiveSource` asks
in the background and `fallback.FallbackChain` stands in for while it does not answer. Where no provider tells a
forecast, `past` makes one from `history` or from a trace's past, with the regressions of `forecast`. No torch.
"""

from overwinter.carbon.intensity import Intensity, IntensitySource
from overwinter.carbon.sources import open_source

__all__ = ["Intensity", "IntensitySource", "open_source"]
