"""Any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.interface import Array, Measure, Values
from overwinter.tasks.numbers import sigmoid

if TYPE_CHECKING:
    import torch


class Multilabel:
    """Multi-label classification: outputs are logits (n, labels), targets are 0 or 1 (n, labels).

    Args:
        labels: their names.
        threshold: a label is predicted when its probability is at least that.
    """

    headline = Measure(name="f1_micro")

    def __init__(self, labels: Sequence[str], *, threshold: float = 0.5) -> None:
        self._labels, self._threshold = tuple(labels), threshold

    @property
    def measures(self) -> dict[str, Measure]:
        """Micro and macro F1, the share of samples with all labels right, and the area under the ROC curve."""
        names = ("f1_macro", "exact_match", "roc_auc")
        return {each.name: each for each in (self.headline, *(Measure(name=name) for name in names))}

    def check_targets(self, targets: Array) -> None:
        """Refuse what are no rows of 0 and 1.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim != 2 or targets.shape[1] != len(self._labels):
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}, and data names {len(self._labels)} labels: "
                f"multilabel takes a row of {len(self._labels)} zeros and ones per sample."
                + (" task=classification?" if targets.ndim == 1 else "")
            )
        other = targets[(targets != 0) & (targets != 1)]
        if other.size:
            raise ConfigError(f"There is the target {other.flat[0]:g}: multilabel takes 0 or 1. task=regression?")

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, labels).

        Raises:
            ConfigError: with both shapes.
        """
        if outputs.shape != targets.shape:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: multilabel takes a logit "
                "per label."
            )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean binary cross entropy."""
        from torch.nn import functional

        return functional.binary_cross_entropy_with_logits(outputs.float(), targets.float())

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return micro and macro F1, exact matches, and the ROC AUC of the labels that occur in both kinds."""
        from sklearn.metrics import f1_score, roc_auc_score

        probabilities, truth = sigmoid(outputs), targets.astype(int)  # (n, labels)
        predicted = (probabilities >= self._threshold).astype(int)
        both = (truth.min(axis=0) == 0) & (truth.max(axis=0) == 1)  # (labels,): the curve of others is not defined
        area = roc_auc_score(truth[:, both], probabilities[:, both], average="macro") if both.any() else 0.5
        return {
            "f1_micro": float(f1_score(truth, predicted, average="micro", zero_division=0)),
            "f1_macro": float(f1_score(truth, predicted, average="macro", zero_division=0)),
            "exact_match": float((predicted == truth).all(axis=1).mean()),
            "roc_auc": float(area),
        }

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the Kullback-Leibler divergence of each label's Bernoulli distribution, in nats, summed (n,)."""
        expected, found = sigmoid(reference), np.clip(sigmoid(outputs), 1e-12, 1 - 1e-12)
        safe = np.clip(expected, 1e-12, 1 - 1e-12)
        per_label = expected * np.log(safe / found) + (1 - expected) * np.log((1 - safe) / (1 - found))
        return np.asarray(per_label.sum(axis=1))

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the predicted labels, each with its probability."""
        pairs = zip(self._labels, sigmoid(output), strict=True)
        return {"labels": {name: float(odds) for name, odds in pairs if odds >= self._threshold}}
