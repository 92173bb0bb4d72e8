"""Searches on a table of 240 measured points: how near 40 trials come to the Pareto front, against 120 random points.

    python benchmarks/search.py [--synthetic]

The table is benchmarks/results/search_table.json (search_table.py): every point of a grid on digits, measured once. A
trial looks its point up. The figure is the hypervolume of the points found, over the whole table's: quality as it is,
joules and bytes by their logarithms, because they span two orders of magnitude; the reference point is the worst value
of each objective in the table. Each method runs 40 trials, one at a time, as `overwinter run -m` would, with 20
seeds; beside them 40 and 120 points drawn at random without repetition, with 200 seeds. For the default objectives, the
size instead of the joules, the size as a third, and all four.

How `overwinter.sweep` chooses points was fixed with ``--synthetic``: on tables of the same shape that are made up, not
on this one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as Shown

from common import RESULTS, write_result
from overwinter.config.groups.search import SearchSettings
from overwinter.sweep.front import undominated
from overwinter.sweep.goal import Goal
from overwinter.sweep.search import Plan, search_in
from overwinter.sweep.space import Job, read_space

KEYS = ("model.channels", "sparsify.amount", "variant@runtime")
OBJECTIVES = (
    ("quality", "energy_per_response_j"),
    ("quality", "size_bytes"),
    ("quality", "energy_per_response_j", "size_bytes"),
    ("quality", "energy_per_response_j", "production_j", "size_bytes"),
)
METHODS = ("gp", "tpe", "nsga2")
TRIALS, RANDOM = 40, 120
SEEDS, RANDOM_SEEDS = 20, 200
_SYNTHETIC = 8


@dataclass(kw_only=True)
class Ground:
    """A table of points and one set of objectives.

    Attributes:
        points: The points: their keys and figures.
        objectives: What is traded off.
    """

    points: Sequence[Mapping[str, Any]]
    objectives: tuple[str, ...]

    def __post_init__(self) -> None:
        self.goal = Goal(objectives=self.objectives, headline="accuracy", higher_is_better=True)
        self.losses = np.array([[_loss(point, each) for each in self.objectives] for point in self.points])
        self.reference = self.losses.max(axis=0)
        self.whole = hypervolume(self.losses, self.reference)
        self.places = {_job(point): place for place, point in enumerate(self.points)}

    def share(self, places: Sequence[int]) -> float:
        """Return the hypervolume of some points over that of all."""
        return hypervolume(self.losses[list(places)], self.reference) / self.whole

    def searched(self, method: str, seed: int) -> float:
        """Search, and return the share of the hypervolume that was found."""
        values = {key: dict.fromkeys(str(point[key]) for point in self.points) for key in KEYS}
        space = read_space([f"{key}={','.join(texts)}" for key, texts in values.items()])
        settings = SearchSettings(method=method, trials=TRIALS, seed=seed, objectives=list(self.objectives))
        plan = Plan(space=space, goal=self.goal, settings=settings, workers=1, ground="")
        found: list[int] = []

        def launch(jobs: Sequence[Job]) -> list[Mapping[str, Any]]:
            found.extend(self.places[job] for job in jobs)
            return [{**self.points[self.places[job]], "name": " ".join(job), "status": "done"} for job in jobs]

        search_in(optuna.create_study(directions=self.goal.directions), plan, launch)
        return self.share(found)

    def drawn(self, count: int, seed: int) -> float:
        """Return the share of the hypervolume of points drawn at random."""
        return self.share(np.random.default_rng(seed).choice(len(self.points), count, replace=False))


def _loss(point: Mapping[str, Any], objective: str) -> float:
    return -float(point[objective]) if objective == "quality" else float(np.log10(point[objective]))


def _job(point: Mapping[str, Any]) -> Job:
    return tuple(f"{key}={point[key]}" for key in KEYS)


def hypervolume(losses: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume that points dominate up to a reference point, by slicing along the last objective.

    While, Hingston, Barone, Huband, "A faster algorithm for calculating hypervolume", IEEE TEVC 10 (2006).

    Args:
        losses: The points, less is better: (points, objectives).
        reference: The reference point: (objectives,).
    """
    inside = losses[(losses < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    if losses.shape[1] == 1:
        return float(reference[0] - inside.min())
    front = inside[undominated(inside)]
    front = front[front[:, -1].argsort(kind="stable")]
    ends = [*front[1:, -1], reference[-1]]
    depths = [end - begin for begin, end in zip(front[:, -1], ends, strict=True)]
    slices = (hypervolume(front[: place + 1, :-1], reference[:-1]) for place in range(len(front)))
    return float(sum(depth * area for depth, area in zip(depths, slices, strict=True) if depth > 0))


def compared(ground: Ground, seeds: int) -> dict[str, Any]:
    """Run every search, and return the shares of the hypervolume."""
    return {
        "objectives": list(ground.objectives),
        "reference_point": {
            name: -value if name == "quality" else 10**value
            for name, value in zip(ground.objectives, ground.reference.tolist(), strict=True)
        },
        "hypervolume_of_the_table": ground.whole,
        "points_of_its_front": len(undominated(ground.losses)),
        **{
            f"random_{count}": summary([ground.drawn(count, seed) for seed in range(RANDOM_SEEDS)])
            for count in (TRIALS, RANDOM)
        },
        **{method: summary([ground.searched(method, seed) for seed in range(seeds)]) for method in METHODS},
    }


def summary(shares: Sequence[float]) -> dict[str, Any]:
    """Return the median, the quartiles and, of few, all shares."""
    low, median, high = np.percentile(shares, [25, 50, 75]).tolist()
    every = {} if len(shares) > SEEDS else {"all": [round(share, 5) for share in shares]}
    return {"median": median, "quartiles": [low, high], "seeds": len(shares), **every}


def synthetic(seed: int) -> list[dict[str, Any]]:
    """Make up a table of the same shape: monotone in width and amount, a factor per variant, noise of 5 to 20 %."""
    draw = np.random.default_rng([seed, 77])
    served = range(10)
    factor, small = np.exp(draw.normal(scale=0.6, size=10)), draw.choice((1.0, 0.5, 0.28), size=10)
    ruined = (draw.random(10) < 0.15) * draw.uniform(0.02, 0.2, size=10)
    lost = np.abs(draw.normal(scale=0.01, size=10)) * (small < 1) + ruined
    made = 1 + draw.uniform(0.02, 0.6, size=10) * (small < 1)
    bend, work, weights = draw.uniform(1.5, 6), draw.uniform(0.4, 1.4), draw.uniform(1.2, 2)
    top, gain = draw.uniform(0.9, 0.995), draw.uniform(0.2, 0.8)
    noises = draw.uniform((0.001, 0.05, 0.05, 0.005), (0.006, 0.2, 0.1, 0.02))
    points = []
    for width, amount, place in product(range(1, 5), (0.2, 0.35, 0.5, 0.65, 0.8, 0.9), served):
        left, (quality, joules, production, size) = width * (1 - amount), noises * draw.normal(size=4)
        points.append(
            {
                "model.channels": f"[{8 * width}]",
                "sparsify.amount": amount,
                "variant@runtime": f"s{place}",
                "quality": top - gain * np.exp(-bend * left) - lost[place] * (1 + 1 / (1 + 3 * left)) + quality,
                "energy_per_response_j": 1e-5 * (0.3 + left**work) * factor[place] * np.exp(joules),
                "production_j": (10 + 60 * width**0.8 + 40 * left**0.8) * made[place] * np.exp(production),
                "size_bytes": 3e3 + 2e4 * left**weights * small[place] * np.exp(size),
            }
        )
    return points


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    names = ["random_40", "random_120", *METHODS]
    table = Shown("objectives", *(name.replace("_", " ") for name in names), "40 trials reach 120 random ones")
    for row in rows:
        reached = ", ".join(name for name in METHODS if row[name]["median"] >= row["random_120"]["median"])
        medians = (f"{row[name]['median']:.4f}" for name in names)
        table.add_row(", ".join(row["objectives"]), *medians, reached or "no")
    Console(width=160).print(table)


def main() -> None:
    """Compare on the committed table and write the result; or on synthetic tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--synthetic", action="store_true", help="on tables that are made up; nothing is written")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if arguments.synthetic:
        for seed in range(_SYNTHETIC):
            show([compared(Ground(points=synthetic(seed), objectives=each), 5) for each in OBJECTIVES])
        return
    points = json.loads((RESULTS / "search_table.json").read_text(encoding="utf-8"))["points"]
    rows = [compared(Ground(points=points, objectives=each), SEEDS) for each in OBJECTIVES]
    show(rows)
    print(f"wrote {write_result('search', {'trials': TRIALS, 'random_points': RANDOM, 'comparisons': rows})}")


if __name__ == "__main__":
    main()
