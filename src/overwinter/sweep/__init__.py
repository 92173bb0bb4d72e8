"""Sweeps: many points of the configuration, each distinct stage run once.

- `batches`: a batch of jobs from Hydra's sweeper, run as points of a named sweep.
- `points`: a point, composed from one job's overrides; equal prefixes of stages have equal keys.
- `running`: the loop that runs points in worker trees; `scheduling` decides which point starts next, `spending` holds
  the sweep to its budget, `trees` makes the trees.
- `repository`: Git: the files of a tree, and the commit that makes a point an experiment of DVC.
- `expanding`, `planning`: the jobs of a sweep before it runs, and what they will cost; `costs` are the forecasts of
  points, and the order in which a budget buys most of them.
- `space`, `goal`, `search`: a search chooses points by Optuna: what varies, what is looked for, the loop that asks and
  tells; `searching` ties them to a project.
- `front`, `picking`, `drawing`: the Pareto front of a sweep, the point to pick from it, and its picture.
- `results`: what a point gave, as `.overwinter/sweeps/NAME/points.json` keeps it.
"""

from overwinter.sweep.points import Point, make_points
from overwinter.sweep.results import PointRecord, PointResult, SweepRecord, read_sweep
from overwinter.sweep.running import run_points

__all__ = ["Point", "PointRecord", "PointResult", "SweepRecord", "make_points", "read_sweep", "run_points"]
