"""Numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.interface import Array, Measure, Values
from overwinter.tasks.numbers import relative_error
from overwinter.tasks.targets import check_finite

if TYPE_CHECKING:
    import torch


class Regression:
    """Regression: outputs and targets are numbers (n,), (n, 1) or (n, values).

    Args:
        labels: the name of each value.
        unit: of the values, such as `USD`; stands in responses and beside the errors.
    """

    headline = Measure(name="r2")

    def __init__(self, labels: Sequence[str], *, unit: str = "") -> None:
        self._labels, self._unit = tuple(labels), unit

    @property
    def measures(self) -> dict[str, Measure]:
        """R2, root mean square error and mean absolute error."""
        errors = [Measure(name=name, higher_is_better=False, unit=self._unit) for name in ("rmse", "mae")]
        return {each.name: each for each in (self.headline, *errors)}

    def check_targets(self, targets: Array) -> None:
        """Refuse what are no finite numbers, one or one row per sample.

        Raises:
            ConfigError: with the value or shape.
        """
        if targets.dtype.kind not in "fiu":
            raise ConfigError(f"Targets are {targets.dtype}: regression takes numbers. task=classification?")
        if targets.ndim > 2:
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: regression takes a number or a row of numbers per "
                "sample. task=forecasting or task=segmentation?"
            )
        check_finite(targets)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse outputs with another number of values than the targets.

        Raises:
            ConfigError: with both shapes.
        """
        if outputs.size != targets.size or len(outputs) != len(targets):
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: regression takes as many "
                "numbers as there are targets."
            )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean square error."""
        from torch.nn import functional

        return functional.mse_loss(outputs.float().reshape(targets.shape), targets.float())

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return R2, root mean square error and mean absolute error over all values."""
        from sklearn.metrics import r2_score

        truth = targets.reshape(len(targets), -1).astype(np.float64)  # (n, values)
        error = outputs.reshape(truth.shape).astype(np.float64) - truth
        return {
            "r2": float(r2_score(truth, truth + error)),
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
        }

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the error against the dense model, over the spread of its outputs (n,)."""
        return relative_error(outputs, reference)

    def respond(self, output: Array) -> dict[str, Any]:
        """Return each value by its name, with the unit."""
        values = [float(each) for each in np.ravel(output)]
        named = dict(zip(self._labels, values, strict=True)) if len(self._labels) == len(values) else None
        value: Any = named or (values[0] if len(values) == 1 else values)
        return {"value": value} | ({"unit": self._unit} if self._unit else {})
