"""Numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import NumbersTask
from overwinter.tasks.interface import Array, Rows
from overwinter.tasks.measure import Measure, by_name, error_measure
from overwinter.tasks.targets import read_numbers

if TYPE_CHECKING:
    import torch


class Regression(NumbersTask):
    """Regression: outputs and targets are numbers (n,), (n, 1) or (n, values).

    Args:
        labels: the name of each value.
        unit: of the values, such as `USD`; stands in responses and beside the errors.
        criterion: instead of the mean square error.
    """

    name = "regression"
    headline = Measure(name="r2", share=False)

    @property
    def measures(self) -> dict[str, Measure]:
        """R2, root mean square error and mean absolute error."""
        return by_name([self.headline, error_measure("rmse", self._unit), error_measure("mae", self._unit)])

    def read_targets(self, targets: Array) -> Array:
        """Return finite numbers (n,) or (n, values), float32.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim > 2:
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: regression takes a number or a row of numbers per "
                "sample. task=forecasting or task=segmentation?"
            )
        return read_numbers(targets)

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

    def _for_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return outputs.reshape(targets.shape), targets

    def _own_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        return functional.mse_loss(outputs, targets)

    def _by_series(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], -1)  # (n, values)

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return `outputs` and `targets` (n, values)."""
        return {"outputs": _columns(outputs), "targets": _columns(targets)}

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return R2, the mean over the values, and root mean square error and mean absolute error over all values."""
        from sklearn.metrics import r2_score

        truth = rows["targets"].astype(np.float64)  # (n, values)
        error = rows["outputs"] - truth
        return {
            "r2": float(r2_score(truth, truth + error)) if len(truth) > 1 else 0.0,  # one sample has no spread
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
        }

    def respond(self, output: Array) -> dict[str, Any]:
        """Return each value by its name, with the unit."""
        values = [float(each) for each in np.ravel(output)]
        named = dict(zip(self.labels, values, strict=True)) if len(self.labels) == len(values) else None
        value: Any = named or (values[0] if len(values) == 1 else values)
        return self._with_unit({"value": value})


def _columns(values: Array) -> Array:
    return values.reshape(len(values), -1)  # (n, values)
