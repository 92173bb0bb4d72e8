"""Tasks: what a model is for.

A `Task` owns what targets may look like, the loss, the measures of quality with their direction and unit, how far a
compressed model's outputs are from the dense one's, and how an output becomes a response. One class each:
`Classification`, `Multilabel`, `Regression`, `TokenClassification`, `Segmentation`, `Forecasting`, `LanguageModeling`.
Only `Task.loss` needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.tasks.classification import Classification
    from overwinter.tasks.forecasting import Forecasting
    from overwinter.tasks.interface import Measure, Task
    from overwinter.tasks.language_modeling import LanguageModeling
    from overwinter.tasks.multilabel import Multilabel
    from overwinter.tasks.regression import Regression
    from overwinter.tasks.segmentation import Segmentation
    from overwinter.tasks.token_classification import TokenClassification

__all__ = [
    "Classification",
    "Forecasting",
    "LanguageModeling",
    "Measure",
    "Multilabel",
    "Regression",
    "Segmentation",
    "Task",
    "TokenClassification",
]

_HOMES = {
    "Classification": "classification",
    "Forecasting": "forecasting",
    "LanguageModeling": "language_modeling",
    "Measure": "interface",
    "Multilabel": "multilabel",
    "Regression": "regression",
    "Segmentation": "segmentation",
    "Task": "interface",
    "TokenClassification": "token_classification",
}

__getattr__ = lazily(__name__, _HOMES)
