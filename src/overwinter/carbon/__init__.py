"""What a kilowatt-hour weighs: carbon intensity with its source, its kind (average or marginal) and its time.

`open_source` opens what the group `carbon/` names: `constant` or `country` (CodeCarbon's table). No torch, no
network.
"""

from overwinter.carbon.intensity import Intensity, IntensitySource
from overwinter.carbon.sources import open_source

__all__ = ["Intensity", "IntensitySource", "open_source"]
