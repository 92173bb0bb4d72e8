"""One class for each token of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError
from overwinter.tasks.dense_classes import counted, cross_entropy, mean_divergence
from overwinter.tasks.interface import Array, Measure, Values
from overwinter.tasks.numbers import softmax
from overwinter.tasks.targets import IGNORED, check_class_numbers

if TYPE_CHECKING:
    import torch


class TokenClassification:
    """Token classification: outputs are logits (n, length, classes), targets are class numbers (n, length).

    A target of -100 does not count, such as at padding.

    Args:
        labels: the name of each class.
    """

    headline = Measure(name="f1_macro")

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)

    @property
    def measures(self) -> dict[str, Measure]:
        """Macro F1 and accuracy over the tokens that count."""
        return {each.name: each for each in (self.headline, Measure(name="accuracy"))}

    def check_targets(self, targets: Array) -> None:
        """Refuse what are no rows of class numbers.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim != 2:
            fitting = "task=classification" if targets.ndim == 1 else "task=segmentation"
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: token classification takes a class number per "
                f"token. {fitting}?"
            )
        check_class_numbers(targets, self._labels, ignored=IGNORED)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, length, classes).

        Raises:
            ConfigError: with both shapes.
        """
        expected = (*targets.shape, len(self._labels))
        if outputs.shape != expected:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: token classification "
                f"takes logits {list(expected)}."
            )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy over the tokens that count."""
        return cross_entropy(outputs.movedim(-1, 1), targets)  # (n, classes, length)

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return macro F1 and accuracy over the tokens that count."""
        from sklearn.metrics import f1_score

        predicted, truth = counted(outputs.argmax(axis=-1), targets)
        return {
            "f1_macro": float(f1_score(truth, predicted, average="macro", zero_division=0)),
            "accuracy": float((predicted == truth).mean()),
        }

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the Kullback-Leibler divergence in nats, the mean over tokens (n,)."""
        return mean_divergence(outputs, reference)

    def respond(self, output: Array) -> dict[str, Any]:
        """Return each token's most probable class and its probability."""
        probabilities = softmax(output)  # (length, classes)
        return {
            "tags": [
                {"label": self._labels[int(row.argmax())], "probability": float(row.max())} for row in probabilities
            ]
        }
