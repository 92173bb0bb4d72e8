"""The quality at which a fit is done: `train.to`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from overwinter.config.groups.figures import refuse_wrong_target
from overwinter.tasks import Task
from overwinter.tasks.measure import Measure


@dataclass(frozen=True, kw_only=True)
class Target:
    """A figure that the validation split has to reach.

    Attributes:
        measure: one of the task's.
        value: the figure.
    """

    measure: Measure
    value: float

    def is_reached(self, measures: Mapping[str, float]) -> bool:
        """Return whether figures of the task's measures are at least as good."""
        found = measures[self.measure.name]
        return found >= self.value if self.measure.higher_is_better else found <= self.value

    def describe(self) -> str:
        """Return it in words: accuracy 91.00 %."""
        return self.measure.describe_named(self.value)


def read_target(to: Mapping[str, float] | None, task: Task, *, key: str = "train") -> Target | None:
    """Return the target that the setting `to` names; None: a fit runs to its end.

    Args:
        to: a measure and its value.
        task: has the measures.
        key: of the settings, for messages.

    Raises:
        ConfigError: it names another number of measures than one, or one that the task does not have.
    """
    if to is None:
        return None
    refuse_wrong_target(to, task, key=f"{key}.to")
    ((name, value),) = to.items()
    return Target(measure=task.measures[name], value=float(value))


def check_steps(steps: int, checks: int) -> frozenset[int]:
    """Return after which of an epoch's steps to measure, evenly spread, the last one included.

    Args:
        steps: of an epoch.
        checks: how many, as far as there are steps.
    """
    return frozenset(max(1, steps * number // checks) for number in range(1, checks + 1))
