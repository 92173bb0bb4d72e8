"""The settings of the tasks: the group `task/`. They are read without torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from overwinter.config.groups.plugin import PluginConfig, plugin_schema
from overwinter.config.groups.task import OwnTaskConfig
from overwinter.config.settings import setting
from overwinter.registries import TASKS

if TYPE_CHECKING:
    from overwinter.tasks.interface import Criterion, Task


@dataclass
class TaskConfig(PluginConfig):
    """The settings of any task: of those in `configs/task/`, and of entry points of other packages."""

    name: str = "classification"
    output: str | None = setting(
        "of a model with several outputs, the name or number of the one that counts; null: logits, or the only one",
        default=None,
    )
    loss: dict[str, Any] | None = setting(
        "your own loss, a class called with outputs and targets: {_target_: torch.nn.HuberLoss, delta: 0.5}; null is "
        "the task's own",
        default=None,
    )

    @abstractmethod
    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task.

        Args:
            labels: what the classes or the numbers are called.
            criterion: the user's own loss, made of `loss`.
        """


@dataclass
class ClassificationTaskConfig(TaskConfig):
    """One class for each sample."""

    label_smoothing: float = setting("label smoothing of the cross-entropy loss", at_least=0, below=1, default=0.0)

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.classification import Classification

        return Classification(labels, label_smoothing=self.label_smoothing, criterion=criterion)


@dataclass
class MultilabelTaskConfig(TaskConfig):
    """Any number of labels for each sample."""

    threshold: float = setting("probability from which a label is predicted", above=0, below=1, default=0.5)

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.multilabel import Multilabel

        return Multilabel(labels, threshold=self.threshold, criterion=criterion)


@dataclass
class RegressionTaskConfig(TaskConfig):
    """Numbers."""

    unit: str = setting("of the values, such as USD, for responses and tables", default="")

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.regression import Regression

        return Regression(labels, unit=self.unit, criterion=criterion)


@dataclass
class TokenClassificationTaskConfig(TaskConfig):
    """One class for each token of a sequence."""

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.token_classification import TokenClassification

        return TokenClassification(labels, criterion=criterion)


@dataclass
class SegmentationTaskConfig(TaskConfig):
    """One class for each pixel."""

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.segmentation import Segmentation

        return Segmentation(labels, criterion=criterion)


@dataclass
class ForecastingTaskConfig(TaskConfig):
    """The next values of a series."""

    unit: str = setting("of the values, such as ppm, for responses and tables", default="")

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.forecasting import Forecasting

        return Forecasting(labels, unit=self.unit, criterion=criterion)


@dataclass
class EmbeddingsTaskConfig(TaskConfig):
    """A vector for each sample, whose direction counts."""

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.embeddings import Embeddings

        return Embeddings(labels, criterion=criterion)


@dataclass
class LanguageModelingTaskConfig(TaskConfig):
    """The next token of a text."""

    def open(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> Task:
        """Make the task."""
        from overwinter.tasks.language_modeling import LanguageModeling

        return LanguageModeling(labels, criterion=criterion)


def task_schema(group: Mapping[str, Any]) -> type[Any]:
    """Return the schema of the group: the named task's, or that of the user's own task."""
    return OwnTaskConfig if "_target_" in group else plugin_schema(TASKS)(group)


def task_node(settings: Any) -> dict[str, Any]:
    """Return the group `task` as a bundle keeps it: without the loss, which only training needs."""
    if isinstance(settings, OwnTaskConfig):
        return settings.node()
    return {key: value for key, value in asdict(settings).items() if key != "loss"}
