"""The plan of a sweep: its distinct stages, what they will cost, what sharing saves, and whether the budget holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.config import Project
from overwinter.ledger import ExecutionRecord, Ledger, ledger_path
from overwinter.sweep.batches import check_until, sweep_name, without_hydra
from overwinter.sweep.costs import Cost, Costs, order_points, total
from overwinter.sweep.expanding import Expansion
from overwinter.sweep.goal import make_goal
from overwinter.sweep.points import Point, make_points
from overwinter.sweep.results import read_sweep
from overwinter.sweep.spending import read_budget_j
from overwinter.units import format_si


@dataclass(frozen=True, kw_only=True)
class StageOfSweep:
    """One stage of the pipeline, in all points.

    Attributes:
        name: The stage's name.
        points: The points that have it: the executions without sharing.
        distinct: The executions that differ.
        done: Those that are finished, which DVC restores.
        cost: The forecast of the others.
    """

    name: str
    points: int
    distinct: int
    done: int
    cost: Cost

    @property
    def runs(self) -> int:
        """The executions that remain."""
        return self.distinct - self.done


@dataclass(frozen=True, kw_only=True)
class BudgetOfSweep:
    """A sweep's budget, and what it buys.

    Attributes:
        budget_j: The limit on the joules of the whole sweep.
        spent_j: The joules that the sweep has spent in its earlier runs.
        holds: Whether what is expected fits.
        points: The points that are expected to fit, the cheapest first.
        message: The verdict in words.
    """

    budget_j: float
    spent_j: float
    holds: bool
    points: int
    message: str


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """The plan of a sweep.

    Attributes:
        name: The sweep's name.
        points: The number of different points.
        jobs: The number of jobs of the sweeper; equal ones are one point.
        drawn: Whether the points only stand for those that a search will choose.
        stages: The stages, in the pipeline's order.
        cost: The forecast of everything that remains to run.
        apart: What every point would cost if each ran all its stages.
        shared: What is saved because points have stages in common.
        restored: What is saved because stages are done.
        budget: The sweep's budget; None without one.
    """

    name: str
    points: int
    jobs: int
    drawn: bool
    stages: tuple[StageOfSweep, ...]
    cost: Cost
    apart: Cost
    shared: Cost
    restored: Cost
    budget: BudgetOfSweep | None


def plan_sweep(project: Project, expansion: Expansion, overrides: Sequence[str]) -> SweepPlan:
    """Compose every point, and plan the sweep from the ledger's history. Nothing runs.

    Args:
        project: The project.
        expansion: The jobs of the sweep.
        overrides: The overrides of the sweep, from which it is named if it was not given a name.

    Raises:
        ConfigError: a point, the budget, the goal of a search or the name is invalid, or the name is that of a sweep
            with other overrides.
        OverwinterError: the ledger cannot be read.
    """
    settings = expansion.settings
    name = settings.name or sweep_name(project, overrides)
    if (earlier := read_sweep(project, name)) is not None:
        earlier.check_same(without_hydra(overrides))
    budget_j = read_budget_j(settings.budget)
    made = make_points(project, expansion.jobs, until=settings.until)
    check_until(made, settings.until)
    if expansion.search is not None:
        make_goal(expansion.search, made[0].config)  # as the search does before its first point
    points = list({point.name: point for point in made}.values())
    with Ledger.open(ledger_path(project.root)) as ledger:
        ledger.reap()
        records = ledger.executions()
    costs = Costs(records)
    apart = total(costs.stage(point, stage) for point in points for stage in point.keys)
    distinct = {key: (point, stage) for point in points for stage, key in point.keys.items()}
    together = total(costs.stage(point, stage) for point, stage in distinct.values())
    cost = total(costs.stage(point, stage) for key, (point, stage) in distinct.items() if not costs.is_done(stage, key))
    return SweepPlan(
        name=name,
        points=len(points),
        jobs=len(expansion.jobs),
        drawn=expansion.drawn,
        stages=tuple(_stage(stage, points, costs) for stage in _names(points)),
        cost=cost,
        apart=apart,
        shared=apart - together,
        restored=together - cost,
        budget=None if budget_j is None else _budget(budget_j, _spent_j(records, name), points, costs, cost.unknown),
    )


def _stage(name: str, points: Sequence[Point], costs: Costs) -> StageOfSweep:
    having = [point for point in points if name in point.keys]
    distinct = {point.keys[name]: point for point in having}
    remaining = [point for key, point in distinct.items() if not costs.is_done(name, key)]
    return StageOfSweep(
        name=name,
        points=len(having),
        distinct=len(distinct),
        done=len(distinct) - len(remaining),
        cost=total(costs.stage(point, name) for point in remaining),
    )


def _names(points: Sequence[Point]) -> list[str]:
    """Return the names of all stages of the points; points may have different pipelines."""
    return list(dict.fromkeys(stage for point in points for stage in point.keys))


def _spent_j(records: Sequence[ExecutionRecord], name: str) -> float:
    """Return the joules that earlier runs of a sweep have spent."""
    return sum(record.energy_j or 0.0 for record in records if record.run_id.startswith(f"{name}/"))


def _budget(budget_j: float, spent_j: float, points: Sequence[Point], costs: Costs, unknown: int) -> BudgetOfSweep:
    cost_j = costs.by_key(points)
    expected_j = spent_j + sum(cost_j.values())
    fitting, so_far_j = 0, spent_j
    paid: set[str] = set()
    for number in order_points([point.keys for point in points], cost_j):
        keys = set(points[number].keys.values())
        so_far_j += sum(cost_j[key] for key in sorted(keys - paid))
        paid |= keys
        if so_far_j > budget_j:
            break
        fitting += 1
    holds = fitting == len(points)
    return BudgetOfSweep(
        budget_j=budget_j,
        spent_j=spent_j,
        holds=holds,
        points=fitting,
        message=_in_words(budget_j, spent_j, expected_j, fitting, len(points), unknown),
    )


def _in_words(budget_j: float, spent_j: float, expected_j: float, fitting: int, points: int, unknown: int) -> str:
    spent = f", {format_si(spent_j, 'J')} of them spent" if spent_j else ""
    costs = f"The sweep is expected to cost {format_si(expected_j, 'J')}{spent}"
    guessed = f" {unknown} executions without a forecast count as their stage usually costs." if unknown else ""
    if fitting == points:
        return f"{costs}, within its budget of {format_si(budget_j, 'J')}.{guessed}"
    return (
        f"{costs}, over its budget of {format_si(budget_j, 'J')}, which is expected to hold {fitting} of {points} "
        f"points.{guessed} Raise the budget (--budget), or sweep fewer values."
    )
