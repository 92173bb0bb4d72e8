"""Figures of quality, with their direction and unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TITLES = {
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "mae": "MAE",
    "mae_over_mean_change": "MAE over mean change",
    "mean_iou": "mean IoU",
    "r2": "R2",
    "rmse": "RMSE",
    "roc_auc": "ROC AUC",
}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure of quality.

    Attributes:
        name: its key in metrics.json.
        higher_is_better: otherwise less is better.
        unit: such as `USD`; empty for a share and for what has none.
        relative: whether a loss is a share of dense's figure, as of an error; otherwise it is a difference.
        share: whether it is a part of a whole, such as of the samples, and read in per cent, its loss in points.
    """

    name: str
    higher_is_better: bool = True
    unit: str = ""
    relative: bool = False
    share: bool = True

    @property
    def title(self) -> str:
        """Its name for people: accuracy, macro F1, R2."""
        return _TITLES.get(self.name, self.name.replace("_", " "))

    def loss(self, value: float, dense: float) -> float:
        """Return how much worse a figure is than the dense model's: 0.01 is one point, or one percent of dense's.

        A better figure has a negative loss.
        """
        worse = dense - value if self.higher_is_better else value - dense
        if not self.relative or worse == 0:
            return worse
        return worse / abs(dense) if dense else math.copysign(math.inf, worse)

    def describe(self, value: float) -> str:
        """Return a figure in words: 98.20 % for a share, 2.31 or 512 USD for others."""
        if self.in_per_cent:
            return f"{100 * value:.2f} %"
        return f"{value:#.3g} {self.unit}".rstrip() if abs(value) < 99.95 else f"{value:.0f} {self.unit}".rstrip()

    def describe_named(self, value: float) -> str:
        """Return a figure in words after its name: accuracy 98.20 %, R2 0.981."""
        return f"{self.title} {self.describe(value)}"

    def describe_loss(self, loss: float) -> str:
        """Return a loss in words: 1.20 points of a share, 1.20 % of an error, 0.012 of what has no scale."""
        if self.relative:
            return f"{100 * loss:.2f} %"
        return f"{100 * loss:.2f} points" if self.in_per_cent else f"{loss:.3g} {self.unit}".rstrip()

    @property
    def in_per_cent(self) -> bool:
        """Whether it is read in per cent: it lies between 0 and 1."""
        return self.share and not self.relative and not self.unit


def by_name(measures: Sequence[Measure]) -> dict[str, Measure]:
    """Return measures by their names."""
    return {measure.name: measure for measure in measures}


def error_measure(name: str, unit: str = "") -> Measure:
    """Return the measure of an error: less is better, and a loss is a share of dense's error."""
    return Measure(name=name, higher_is_better=False, unit=unit, relative=True)
