"""Records of points as points.json has them, for tests of the front and of what is picked from it."""

from overwinter.sweep.goal import Goal
from overwinter.sweep.results import PointRecord

GOAL = Goal(objectives=("quality", "energy_per_response_j"), headline="accuracy", higher_is_better=True)


def record(name, quality=None, energy_j=None, size_bytes=None, status="done", **more):
    return PointRecord(
        name=name,
        overrides=("seed=1", f"x={name}"),
        keys={"train": name},
        status=status,
        quality=quality,
        energy_per_response_j=energy_j,
        size_bytes=size_bytes,
        production_j=1.0,
        **more,
    )
