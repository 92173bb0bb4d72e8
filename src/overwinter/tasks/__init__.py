"""Tasks: what a model is for.

A `Task` owns what targets may look like, the loss, the measures of quality with their direction and unit, how far a
compressed model's outputs are from the dense one's, and how an output becomes a response. One class each:
`Classification`, `Multilabel`, `Regression`, `TokenClassification`, `Segmentation`, `Forecasting`, `Embeddings`,
`LanguageModeling`.

- `load_task` makes the task of ``config.task``, or of the mapping that a bundle keeps (`task_node`).
- `Measure` is a figure of quality: its direction, unit, and how much worse than the dense model's it is.
- `Task.rows` of several batches are joined by `join_rows`; `Task.measure` turns them into figures.
- `IGNORED` is the target of a position that does not count.

Your own task is a class with what `Task` describes, called with ``labels`` and your arguments. Name it with
``_target_: my_package.MyTask`` in a file of ``configs/task/``, and ``trusted_targets=[my_package]``; or register a
`TaskConfig` as an entry point of the group ``overwinter.tasks``. Only `Task.loss` and `Task.divergence` need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.tasks.classification import Classification
    from overwinter.tasks.embeddings import Embeddings
    from overwinter.tasks.forecasting import Forecasting
    from overwinter.tasks.interface import Criterion, Rows, Task, join_rows
    from overwinter.tasks.language_modeling import LanguageModeling
    from overwinter.tasks.load import find_headline, load_task, make_loss
    from overwinter.tasks.measure import Measure
    from overwinter.tasks.multilabel import Multilabel
    from overwinter.tasks.regression import Regression
    from overwinter.tasks.segmentation import Segmentation
    from overwinter.tasks.settings import TaskConfig, task_node
    from overwinter.tasks.targets import IGNORED
    from overwinter.tasks.token_classification import TokenClassification

__all__ = [
    "IGNORED",
    "Classification",
    "Criterion",
    "Embeddings",
    "Forecasting",
    "LanguageModeling",
    "Measure",
    "Multilabel",
    "Regression",
    "Rows",
    "Segmentation",
    "Task",
    "TaskConfig",
    "TokenClassification",
    "find_headline",
    "join_rows",
    "load_task",
    "make_loss",
    "task_node",
]

_HOMES = {
    "IGNORED": "targets",
    "Classification": "classification",
    "Criterion": "interface",
    "Embeddings": "embeddings",
    "Forecasting": "forecasting",
    "LanguageModeling": "language_modeling",
    "Measure": "measure",
    "Multilabel": "multilabel",
    "Regression": "regression",
    "Rows": "interface",
    "Segmentation": "segmentation",
    "Task": "interface",
    "TaskConfig": "settings",
    "TokenClassification": "token_classification",
    "find_headline": "load",
    "join_rows": "interface",
    "load_task": "load",
    "make_loss": "load",
    "task_node": "settings",
}

__getattr__ = lazily(__name__, _HOMES)
