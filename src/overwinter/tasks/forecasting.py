"""The next values of a series."""

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


class Forecasting:
    """Forecasting: outputs and targets are the next values (n, steps) or (n, steps, series).

    Args:
        labels: the name of each series.
        unit: of the values.
    """

    headline = Measure(name="mae_over_mean_change", higher_is_better=False)

    def __init__(self, labels: Sequence[str], *, unit: str = "") -> None:
        self._labels, self._unit = tuple(labels), unit

    @property
    def measures(self) -> dict[str, Measure]:
        """Mean absolute error, also over the targets' mean change from step to step; root mean square error."""
        errors = [Measure(name=name, higher_is_better=False, unit=self._unit) for name in ("mae", "rmse")]
        return {each.name: each for each in (self.headline, *errors)}

    def check_targets(self, targets: Array) -> None:
        """Refuse what are no finite numbers (n, steps) or (n, steps, series).

        Raises:
            ConfigError: with the value or shape, and the task that would fit.
        """
        if targets.ndim not in (2, 3) or targets.dtype.kind not in "fiu":
            raise ConfigError(
                f"A target is {targets.dtype} of the shape {list(targets.shape[1:])}: forecasting takes numbers "
                f"(steps) or (steps, series).{' task=regression?' if targets.ndim == 1 else ''}"
            )
        check_finite(targets)

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

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean absolute error, which an odd spike does not rule."""
        from torch.nn import functional

        return functional.l1_loss(outputs.float(), targets.float())

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return the errors; the headline is scaled as Hyndman and Koehler's MASE (2006), on the targets."""
        truth = targets.astype(np.float64)
        error = outputs.astype(np.float64) - truth
        change = float(np.abs(np.diff(truth, axis=1)).mean()) if truth.shape[1] > 1 else float(truth.std())
        mae = float(np.abs(error).mean())
        return {
            "mae_over_mean_change": mae / max(change, np.finfo(np.float64).tiny),
            "mae": mae,
            "rmse": float(np.sqrt((error**2).mean())),
        }

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the error against the dense model, over the spread of its outputs (n,)."""
        return relative_error(outputs, reference)

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the next values, of each series by its name."""
        steps = output.reshape(len(output), -1)  # (steps, series)
        named = len(self._labels) == steps.shape[1] > 1
        values: Any = dict(zip(self._labels, steps.T.tolist(), strict=True)) if named else output.tolist()
        return {"forecast": values} | ({"unit": self._unit} if self._unit else {})
