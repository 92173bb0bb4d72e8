"""The next values of a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import NumbersTask
from overwinter.tasks.interface import Array, Rows
from overwinter.tasks.measure import Measure, by_name, error_measure
from overwinter.tasks.numbers import mean_of_rest
from overwinter.tasks.targets import read_numbers

if TYPE_CHECKING:
    import torch


class Forecasting(NumbersTask):
    """Forecasting: outputs and targets are the next values (n, steps) or (n, steps, series).

    Args:
        labels: the name of each series.
        unit: of the values.
        criterion: instead of the mean absolute error.
    """

    name = "forecasting"
    headline = error_measure("mae_over_mean_change")

    @property
    def measures(self) -> dict[str, Measure]:
        """Mean absolute error, also over the targets' mean change from step to step; root mean square error."""
        return by_name([self.headline, error_measure("mae", self._unit), error_measure("rmse", self._unit)])

    def read_targets(self, targets: Array) -> Array:
        """Return finite numbers (n, steps) or (n, steps, series), float32.

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim not in (2, 3):
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: forecasting takes numbers (steps) or (steps, "
                f"series).{' task=regression?' if targets.ndim == 1 else ''}"
            )
        return read_numbers(targets)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse outputs of another shape than the targets.

        Raises:
            ConfigError: with both shapes.
        """
        if outputs.shape != targets.shape:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: forecasting takes the "
                "targets' shape."
            )

    def _own_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean absolute error, which an odd spike does not rule."""
        from torch.nn import functional

        return functional.l1_loss(outputs, targets)

    def _by_series(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(shape) if len(shape) > 2 else (*shape, 1)  # (n, steps, series)

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return each sample's mean `absolute_error`, `squared_error` and `change` from step to step, each (n,).

        Of a single step there is no change: `target` and `squared_target` give the spread instead.
        """
        truth = targets.astype(np.float64)
        error = outputs - truth
        change = np.abs(np.diff(truth, axis=1)) if truth.shape[1] > 1 else np.full_like(truth, np.nan)
        return {
            "absolute_error": mean_of_rest(np.abs(error)),
            "squared_error": mean_of_rest(error**2),
            "change": mean_of_rest(change),
            "target": mean_of_rest(truth),
            "squared_target": mean_of_rest(truth**2),
        }

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return the errors; the headline is scaled as Hyndman and Koehler's MASE (2006), on the targets."""
        mean = {name: float(values.mean()) for name, values in rows.items()}
        change = mean["change"]
        if np.isnan(change):
            change = float(np.sqrt(max(mean["squared_target"] - mean["target"] ** 2, 0.0)))
        return {
            "mae_over_mean_change": mean["absolute_error"] / max(change, np.finfo(np.float64).tiny),
            "mae": mean["absolute_error"],
            "rmse": float(np.sqrt(mean["squared_error"])),
        }

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the next values, of each series by its name."""
        steps = output.reshape(len(output), -1)  # (steps, series)
        named = len(self.labels) == steps.shape[1] > 1
        values: Any = dict(zip(self.labels, steps.T.tolist(), strict=True)) if named else output.tolist()
        return self._with_unit({"forecast": values})
