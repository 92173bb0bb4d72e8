"""One class for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.interface import Array, Measure, Values
from overwinter.tasks.numbers import kl_divergence, softmax
from overwinter.tasks.targets import check_class_numbers

if TYPE_CHECKING:
    import torch

_TOP = 5


class Classification:
    """Single-label classification: outputs are logits (n, classes), targets are class numbers (n,).

    Args:
        labels: the name of each class.
        label_smoothing: of the cross entropy while training, 0 to 1.
    """

    headline = Measure(name="accuracy")

    def __init__(self, labels: Sequence[str], *, label_smoothing: float = 0.0) -> None:
        self._labels, self._label_smoothing = tuple(labels), label_smoothing

    @property
    def measures(self) -> dict[str, Measure]:
        """Accuracy, macro F1, and of more than five classes the share whose class is among the best five."""
        listed = [self.headline, Measure(name="f1_macro")]
        if len(self._labels) > _TOP:
            listed.append(Measure(name="top5_accuracy"))
        return {each.name: each for each in listed}

    def check_targets(self, targets: Array) -> None:
        """Refuse what is no class number.

        Raises:
            ConfigError: with the value, and the task that would fit.
        """
        if targets.ndim != 1:
            whole = targets.dtype.kind in "iu"
            fitting = (
                "task=segmentation or task=token_classification" if whole else "task=multilabel or task=regression"
            )
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: classification takes one class number per sample. "
                f"{fitting}?"
            )
        check_class_numbers(targets, self._labels)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, classes).

        Raises:
            ConfigError: with both shapes.
        """
        expected = (len(targets), len(self._labels))
        if outputs.shape != expected:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for {len(targets)} samples, and data names "
                f"{len(self._labels)} classes: classification takes logits {list(expected)}."
            )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy."""
        from torch.nn import functional

        return functional.cross_entropy(outputs.float(), targets, label_smoothing=self._label_smoothing)

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return accuracy, macro F1, and the top-5 accuracy of more than five classes."""
        from sklearn.metrics import f1_score

        predicted = outputs.argmax(axis=1)  # (n,)
        found = {
            "accuracy": float((predicted == targets).mean()),
            "f1_macro": float(f1_score(targets, predicted, average="macro", zero_division=0)),
        }
        if len(self._labels) > _TOP:
            best = np.argpartition(-outputs, _TOP - 1, axis=1)[:, :_TOP]  # (n, 5)
            found["top5_accuracy"] = float((best == targets[:, None]).any(axis=1).mean())
        return found

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the Kullback-Leibler divergence from the dense model's probabilities, in nats (n,)."""
        return kl_divergence(outputs, reference)

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the most probable class and its probability."""
        probabilities = softmax(output)  # (classes,)
        best = int(probabilities.argmax())
        return {"label": self._labels[best], "probability": float(probabilities[best])}
