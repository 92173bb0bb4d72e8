"""One class for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import ClassesTask
from overwinter.tasks.class_counts import class_counts, f1_macro, totals
from overwinter.tasks.interface import Array, Criterion, Rows
from overwinter.tasks.measure import Measure, by_name
from overwinter.tasks.numbers import softmax
from overwinter.tasks.targets import read_class_numbers, without_last_axis_of_one

_TOP = 5
_BINS = 15  # of the calibration error, as Guo et al. (2017)


class Classification(ClassesTask):
    """Single-label classification: outputs are logits (n, classes), targets are class numbers (n,).

    Args:
        labels: the name of each class.
        label_smoothing: of the cross entropy while gradients are computed, 0 to below 1.
        criterion: instead of the cross entropy.
    """

    name = "classification"
    headline = Measure(name="accuracy")
    class_axis = -1

    def __init__(
        self, labels: Sequence[str], *, label_smoothing: float = 0.0, criterion: Criterion | None = None
    ) -> None:
        super().__init__(labels, criterion=criterion)
        self._label_smoothing = label_smoothing

    @property
    def measures(self) -> dict[str, Measure]:
        """Accuracy, macro F1, expected calibration error, the worst class's accuracy, and top-5 accuracy.

        The last is the share whose class is among the best five, where there are more than five.
        """
        listed = [self.headline, Measure(name="f1_macro"), Measure(name="worst_class_accuracy")]
        listed.append(Measure(name="calibration_error", higher_is_better=False))
        if len(self.labels) > _TOP:
            listed.append(Measure(name="top5_accuracy"))
        return by_name(listed)

    def read_targets(self, targets: Array) -> Array:
        """Return class numbers (n,), int64.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        numbers = without_last_axis_of_one(targets, ndim=1)
        if numbers.ndim != 1:
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: classification takes one class number per sample. "
                f"{_fitting(targets, len(self.labels))}?"
            )
        return read_class_numbers(numbers, self.labels)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, classes).

        Raises:
            ConfigError: with both shapes.
        """
        expected = (len(targets), len(self.labels))
        if outputs.shape != expected:
            one = outputs.size == len(targets) and len(self.labels) == 2
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for {len(targets)} samples, and data names "
                f"{len(self.labels)} classes: classification takes logits {list(expected)}."
                + (" Let the model return two logits: one for each class." if one else "")
            )

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return `logits` (n, classes), `targets` (n,) and `correct` (n,), bool."""
        return {"logits": outputs, "targets": targets, "correct": self._decisions(outputs) == targets}

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return every figure of `measures`."""
        logits, targets, correct = rows["logits"], rows["targets"], rows["correct"]
        hits, predicted, occurring = totals(class_counts(logits.argmax(axis=-1), targets, logits.shape[-1]))
        occurs = occurring > 0
        found = {
            "accuracy": float(correct.mean()),
            "f1_macro": f1_macro(hits, predicted, occurring),
            "worst_class_accuracy": float((hits[occurs] / occurring[occurs]).min()),
            "calibration_error": _calibration_error(logits, correct),
        }
        if len(self.labels) > _TOP:
            best = np.argpartition(-logits, _TOP - 1, axis=1)[:, :_TOP]  # (n, 5)
            found["top5_accuracy"] = float((best == targets[:, None]).any(axis=1).mean())
        return found

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the most probable class and its probability."""
        probabilities = softmax(output)  # (classes,)
        best = int(probabilities.argmax())
        return {"label": self.labels[best], "probability": float(probabilities[best])}


def _fitting(targets: Array, classes: int) -> str:
    if targets.ndim == 2 and targets.shape[1] == classes and bool(((targets == 0) | (targets == 1)).all()):
        one_hot = bool((targets.sum(axis=1) == 1).all())
        return "Give the place of the 1 in each row, or task=multilabel" if one_hot else "task=multilabel"
    whole = targets.dtype.kind in "iu"
    return "task=segmentation or task=token_classification" if whole else "task=multilabel or task=regression"


def _calibration_error(logits: Array, correct: Array) -> float:
    """Return the expected calibration error: the mean distance of confidence from accuracy, over bins of confidence."""
    confidence = softmax(logits).max(axis=-1)  # (n,)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
