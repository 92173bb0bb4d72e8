"""What is checked of the evaluation before training, when the task and its labels are known."""

from __future__ import annotations

from overwinter.config import Config
from overwinter.config.groups.figures import refuse_unknown_figures
from overwinter.evaluation.measures import own_measures
from overwinter.tasks import Task


def check_figures(config: Config, task: Task) -> None:
    """Check your own measures, and the names in `evaluate.max_losses` and `budget.quality`.

    Raises:
        ConfigError: a measure cannot be created, or a limit names a figure that this task does not have.
    """
    own_measures(config.evaluate, trusted=config.trusted_targets)
    refuse_unknown_figures(config, task)
