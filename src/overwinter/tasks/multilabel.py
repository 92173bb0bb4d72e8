"""Any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import BuiltInTask
from overwinter.tasks.class_counts import f1_macro
from overwinter.tasks.interface import Array, Criterion, Rows, Values
from overwinter.tasks.measure import Measure, by_name
from overwinter.tasks.numbers import mean_of_rest, sigmoid
from overwinter.tasks.targets import refuse_no_numbers

if TYPE_CHECKING:
    import torch


class Multilabel(BuiltInTask):
    """Multi-label classification: outputs are logits (n, labels), targets are 0 or 1 (n, labels).

    Args:
        labels: their names.
        threshold: a label is predicted when its probability is at least that.
        criterion: instead of the binary cross entropy.
    """

    name = "multilabel"
    headline = Measure(name="f1_micro")

    def __init__(self, labels: Sequence[str], *, threshold: float = 0.5, criterion: Criterion | None = None) -> None:
        super().__init__(labels, criterion=criterion)
        self._threshold = threshold

    @property
    def measures(self) -> dict[str, Measure]:
        """Micro and macro F1, the share of samples with all labels right, and the area under the ROC curve."""
        return by_name([self.headline, *(Measure(name=name) for name in ("f1_macro", "exact_match", "roc_auc"))])

    def read_targets(self, targets: Array) -> Array:
        """Return zeros and ones (n, labels), float32.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        refuse_no_numbers(targets)
        if targets.ndim != 2 or targets.shape[1] != len(self.labels):
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}, and data names {len(self.labels)} labels: "
                f"multilabel takes a row of {len(self.labels)} zeros and ones per sample."
                + (" task=classification?" if targets.ndim == 1 else "")
            )
        other = targets[(targets != 0) & (targets != 1)]
        if other.size:
            raise ConfigError(f"There is the target {other.flat[0]:g}: multilabel takes 0 or 1. task=regression?")
        return targets.astype(np.float32)

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

    def _own_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        return functional.binary_cross_entropy_with_logits(outputs, targets)

    def divergence(self, outputs: torch.Tensor, reference: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return the Kullback-Leibler divergence of each label's Bernoulli distribution, in nats, summed (n,)."""
        from overwinter.tasks.divergences import bernoulli_divergence

        return bernoulli_divergence(outputs, reference, temperature=temperature)

    def agreement(self, outputs: Array, reference: Array) -> Values:
        """Return the share of labels that are predicted as by the dense model (n,)."""
        return mean_of_rest(self._decisions(outputs) == self._decisions(reference))

    def _decisions(self, outputs: Array) -> Array:
        return np.asarray(sigmoid(outputs) >= self._threshold)  # (n, labels)

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return `logits` and `targets` (n, labels)."""
        return {"logits": outputs, "targets": targets}

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return micro and macro F1, exact matches, and the ROC AUC of the labels that occur in both kinds."""
        logits, truth = rows["logits"], rows["targets"] == 1  # (n, labels)
        predicted = self._decisions(logits)
        hits, positive, occurring = (
            each.sum(axis=0, dtype=np.float64) for each in (predicted & truth, predicted, truth)
        )
        return {
            "f1_micro": float(2 * hits.sum() / max(positive.sum() + occurring.sum(), 1.0)),
            "f1_macro": f1_macro(hits, positive, occurring),
            "exact_match": float((predicted == truth).all(axis=1).mean()),
            "roc_auc": _roc_auc(logits, truth),
        }

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the predicted labels, each with its probability."""
        pairs = zip(self.labels, sigmoid(output), strict=True)
        return {"labels": {name: float(odds) for name, odds in pairs if odds >= self._threshold}}


def _roc_auc(logits: Array, truth: Array) -> float:
    """Return the mean area under the curve of the labels that occur and do not always; 0.5, by chance, without any."""
    from sklearn.metrics import roc_auc_score

    defined = np.flatnonzero((truth.mean(axis=0) > 0) & (truth.mean(axis=0) < 1))
    return float(roc_auc_score(truth[:, defined], logits[:, defined], average="macro")) if defined.size else 0.5
