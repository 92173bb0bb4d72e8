"""One class for each token of a sequence."""

from __future__ import annotations

from typing import Any

from overwinter.errors import ConfigError
from overwinter.tasks.base import PositionsTask
from overwinter.tasks.class_counts import counted_totals, f1_macro, share
from overwinter.tasks.interface import Array, Rows
from overwinter.tasks.measure import Measure, by_name
from overwinter.tasks.numbers import softmax
from overwinter.tasks.targets import IGNORED, read_class_numbers


class TokenClassification(PositionsTask):
    """Token classification: outputs are logits (n, length, classes), targets are class numbers (n, length).

    A target of -100 does not count, such as at padding.

    Args:
        labels: the name of each class.
        criterion: instead of the cross entropy; it is given logits (n, classes, length).
    """

    name = "token_classification"
    headline = Measure(name="f1_macro")
    class_axis = -1

    @property
    def measures(self) -> dict[str, Measure]:
        """Macro F1 and accuracy over the tokens that count."""
        return by_name([self.headline, Measure(name="accuracy")])

    def read_targets(self, targets: Array) -> Array:
        """Return class numbers (n, length), int64.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim != 2:
            fitting = "task=classification" if targets.ndim == 1 else "task=segmentation"
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: token classification takes a class number per "
                f"token. {fitting}?"
            )
        return read_class_numbers(targets, self.labels, ignored=IGNORED)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, length, classes).

        Raises:
            ConfigError: with both shapes.
        """
        expected = (*targets.shape, len(self.labels))
        if outputs.shape != expected:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: token classification "
                f"takes logits {list(expected)}."
            )

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return macro F1 and accuracy over the tokens that count.

        Raises:
            ConfigError: no token counts.
        """
        hits, predicted, targets = counted_totals(rows)
        return {"f1_macro": f1_macro(hits, predicted, targets), "accuracy": share(hits, targets)}

    def respond(self, output: Array) -> dict[str, Any]:
        """Return each token's most probable class and its probability."""
        probabilities = softmax(output)  # (length, classes)
        return {
            "tags": [
                {"label": self.labels[int(row.argmax())], "probability": float(row.max())} for row in probabilities
            ]
        }
