"""One class for each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import PositionsTask
from overwinter.tasks.class_counts import counted_totals, mean_iou, share
from overwinter.tasks.interface import Array, Rows
from overwinter.tasks.measure import Measure, by_name
from overwinter.tasks.targets import IGNORED, read_class_numbers


class Segmentation(PositionsTask):
    """Semantic segmentation: outputs are logits (n, classes, height, width), targets are class numbers per pixel.

    A target of -100 does not count.

    Args:
        labels: the name of each class.
        criterion: instead of the cross entropy.
    """

    name = "segmentation"
    headline = Measure(name="mean_iou")
    class_axis = 1

    @property
    def measures(self) -> dict[str, Measure]:
        """Mean intersection over union of the classes that occur, and the share of right pixels."""
        return by_name([self.headline, Measure(name="pixel_accuracy")])

    def read_targets(self, targets: Array) -> Array:
        """Return class numbers (n, height, width), int64; masks (n, 1, height, width) lose their channel.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        masks = targets[:, 0] if targets.ndim == 4 and targets.shape[1] == 1 else targets
        if masks.ndim != 3:
            fitting = {1: " task=classification?", 2: " task=token_classification?"}.get(targets.ndim, "")
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: segmentation takes class numbers (height, width)."
                f"{fitting}"
            )
        return read_class_numbers(masks, self.labels, ignored=IGNORED)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, classes, height, width).

        Raises:
            ConfigError: with both shapes.
        """
        expected = (len(targets), len(self.labels), *targets.shape[1:])
        if outputs.shape != expected:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: segmentation takes logits "
                f"{list(expected)}."
            )

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return the mean intersection over union (Jaccard index) and the share of right pixels.

        Raises:
            ConfigError: no pixel counts.
        """
        hits, predicted, targets = counted_totals(rows)
        return {"mean_iou": mean_iou(hits, predicted, targets), "pixel_accuracy": share(hits, targets)}

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the mask as class numbers (height, width), and the share of pixels of each class that occurs."""
        mask = output.argmax(axis=0)  # (height, width)
        shares = np.bincount(mask.ravel(), minlength=len(self.labels)) / mask.size
        return {
            "mask": mask.tolist(),
            "shares": {name: float(part) for name, part in zip(self.labels, shares, strict=True) if part},
        }
