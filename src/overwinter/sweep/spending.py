"""A sweep's own budget: what it has spent, by the ledger, and what the next point is expected to add."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError, OverwinterError
from overwinter.ledger import ExecutionRecord, Ledger, ledger_path
from overwinter.sweep.costs import Costs, order_points
from overwinter.units import format_si, parse_quantity

if TYPE_CHECKING:
    from overwinter.config import Project
    from overwinter.sweep.points import Point


def read_budget_j(text: str | None) -> float | None:
    """Return the joules of a sweep's budget; None for no limit.

    Raises:
        ConfigError: it is not an amount of energy.
    """
    if text is None:
        return None
    budget_j = parse_quantity(text, key="hydra.launcher.budget", dimensions=("energy",)).value
    if budget_j <= 0:
        raise ConfigError(f"hydra.launcher.budget={text!r} must be above zero.")
    return budget_j


class Spending:
    """The joules of one sweep, in all its runs, against its budget.

    Args:
        project: The project.
        prefix: The prefix of the ids of the sweep's runs in the ledger.
        budget_j: The budget; None for no limit.
    """

    def __init__(self, project: Project, prefix: str, budget_j: float | None) -> None:
        self._ledger = ledger_path(project.root)
        self._prefix = prefix
        self.budget_j = budget_j

    def spent_j(self) -> dict[str, float]:
        """Return the joules of each run so far, by its id."""
        spent: dict[str, float] = {}
        for record in self._records():
            if record.run_id.startswith(self._prefix):
                spent[record.run_id] = spent.get(record.run_id, 0.0) + (record.energy_j or 0.0)
        return spent

    def refusal(self, point: Point, finished: Collection[str], running: Mapping[str, float]) -> str | None:
        """Return why a point may not start; None if it may.

        Args:
            point: The point.
            finished: Keys of stages that are finished, or that a running point pays for.
            running: The forecast joules of each running point, by the id of its run.
        """
        if self.budget_j is None:
            return None
        records = self._records()
        spent = self.spent_j()
        committed_j = sum(max(spent.get(run, 0.0), running.get(run, 0.0)) for run in {*spent, *running})
        expected_j = self.expected_j(point, finished, records)
        if committed_j + expected_j <= self.budget_j:
            return None
        return (
            f"the sweep's budget of {format_si(self.budget_j, 'J')} does not hold this point: "
            f"{format_si(sum(spent.values()), 'J')} spent, {format_si(expected_j, 'J')} more expected"
        )

    def exceeded(self) -> bool:
        """Return whether more than the budget has been spent."""
        return self.budget_j is not None and sum(self.spent_j().values()) > self.budget_j

    def expected_j(
        self, point: Point, finished: Collection[str], records: Sequence[ExecutionRecord] | None = None
    ) -> float:
        """Return the joules that the stages of a point that have to run are expected to cost.

        What is done, also by another sweep, costs nothing. A stage without a history is expected to cost what it cost
        in other configurations; if it never ran, zero.
        """
        costs = Costs(self._records() if records is None else records)
        return sum(costs.expected_j(point, stage) for stage in costs.missing(point, finished))

    def order(self, points: Sequence[Point]) -> list[int]:
        """Return the order in which to start points: with a budget, so that it holds as many as it can."""
        keys = [point.keys for point in points]
        return order_points(keys, None if self.budget_j is None else Costs(self._records()).by_key(points))

    def _records(self) -> list[ExecutionRecord]:
        with Ledger.open(self._ledger) as ledger:
            try:
                return ledger.executions()
            except OverwinterError:
                return []  # reported by the ledger
