"""Sweeps: many points of the configuration, each distinct stage run once.

- `points`: a point, composed from one job's overrides; equal prefixes of stages have equal keys.
- `results`: what a point gave, as `.overwinter/sweeps/NAME/points.json` keeps it.
"""

from overwinter.sweep.points import Point, make_points
from overwinter.sweep.results import PointResult

__all__ = ["Point", "PointResult", "make_points"]
