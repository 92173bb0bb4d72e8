"""One class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.dense_classes import counted, cross_entropy, mean_divergence
from overwinter.tasks.interface import Array, Measure, Values
from overwinter.tasks.targets import IGNORED, check_class_numbers

if TYPE_CHECKING:
    import torch


class Segmentation:
    """Semantic segmentation: outputs are logits (n, classes, height, width), targets are class numbers per pixel.

    A target of -100 does not count.

    Args:
        labels: the name of each class.
    """

    headline = Measure(name="mean_iou")

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)

    @property
    def measures(self) -> dict[str, Measure]:
        """Mean intersection over union of the classes that occur, and the share of right pixels."""
        return {each.name: each for each in (self.headline, Measure(name="pixel_accuracy"))}

    def check_targets(self, targets: Array) -> None:
        """Refuse what are no class numbers (n, height, width).

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim != 3:
            fitting = {1: " task=classification?", 2: " task=token_classification?"}.get(targets.ndim, "")
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: segmentation takes class numbers (height, width)."
                f"{fitting}"
            )
        check_class_numbers(targets, self._labels, ignored=IGNORED)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, classes, height, width).

        Raises:
            ConfigError: with both shapes.
        """
        expected = (len(targets), len(self._labels), *targets.shape[1:])
        if outputs.shape != expected:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: segmentation takes logits "
                f"{list(expected)}."
            )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy over the pixels that count."""
        return cross_entropy(outputs, targets)

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return the mean intersection over union (Jaccard index) and the share of right pixels."""
        from sklearn.metrics import jaccard_score

        predicted, truth = counted(outputs.argmax(axis=1), targets)
        return {
            "mean_iou": float(jaccard_score(truth, predicted, average="macro", zero_division=0)),
            "pixel_accuracy": float((predicted == truth).mean()),
        }

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the Kullback-Leibler divergence in nats, the mean over pixels (n,)."""
        return mean_divergence(np.moveaxis(outputs, 1, -1), np.moveaxis(reference, 1, -1))

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the mask as class numbers (height, width), and the share of pixels of each class that occurs."""
        mask = output.argmax(axis=0)  # (height, width)
        shares = np.bincount(mask.ravel(), minlength=len(self._labels)) / mask.size
        return {
            "mask": mask.tolist(),
            "shares": {name: float(share) for name, share in zip(self._labels, shares, strict=True) if share},
        }
