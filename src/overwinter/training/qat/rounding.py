"""Rounding to integers that lets a gradient through.

- `straight_through`: nearest, with the gradient of the clipping alone (Bengio, Leonard and Courville, 2013).
- `relaxed`: Louizos et al., "Relaxed Quantization for Discretized Neural Networks" (ICLR 2019). The value plus
  logistic noise falls into the cell of each grid point with some probability; a concrete (Gumbel-softmax)
  sample of that distribution takes the place of the rounded value. Its straight-through form, RQ-ST, takes
  the sample's most likely point forwards, and the relaxation's gradient backwards.

All values are in units of the grid: the grid points are the integers from ``low`` to ``high``.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.nn import functional


def straight_through(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Clip and round to nearest; the gradient passes unchanged where nothing was clipped.

    Args:
        values: any shape.
        low: smallest grid point; a shape that broadcasts.
        high: largest grid point, likewise.
    """
    return _replace(values.clamp(low, high), values.detach().clamp(low, high).round())


def relaxed(
    values: torch.Tensor,
    low: torch.Tensor,
    high: torch.Tensor,
    *,
    noise: torch.Tensor,
    temperature: float,
    neighbours: int,
    hard: bool,
) -> torch.Tensor:
    """Sample a relaxed grid point for every value; draws from torch's global generator.

    As in the paper, only grid points near the value are looked at.

    Args:
        values: any shape.
        low: smallest grid point; a shape that broadcasts.
        high: largest grid point, likewise.
        noise: (), scale of the logistic noise, in grid steps.
        temperature: of the concrete distribution; towards 0 it is the discrete one.
        neighbours: grid points looked at on either side of the nearest one.
        hard: sample a grid point itself forwards (RQ-ST).
    """
    nearest = values.detach().clamp(low, high).round()
    steps = torch.arange(-neighbours, neighbours + 1, device=values.device, dtype=values.dtype)
    points = nearest + steps.reshape(-1, *[1] * values.dim())  # (points, ...)
    logits = _log_probabilities(values - points, noise).masked_fill((points < low) | (points > high), -torch.inf)
    gumbel = torch.empty_like(logits).exponential_().log_().neg_()
    shares = functional.softmax((logits + gumbel) / temperature, dim=0)
    sampled = (shares * points).sum(0)
    if not hard:
        return sampled
    return _replace(sampled, points.gather(0, shares.detach().argmax(0, keepdim=True))[0])


def lessened(values: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the values as they are, with ``factor`` times their gradient."""
    return cast(torch.Tensor, _Lessened.apply(values, factor))  # type: ignore[no-untyped-call]  # torch's


def _log_probabilities(distance: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Log of P(value + logistic noise lies within half a step of a point), up to what all points share.

    S(a) - S(b) = S(a) S(-b) (1 - exp(b - a)) for the logistic function S, and a - b is one step for every point.
    """
    return functional.logsigmoid((0.5 - distance) / noise) + functional.logsigmoid((0.5 + distance) / noise)


def _replace(values: torch.Tensor, forwards: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, _Replaced.apply(values, forwards))  # type: ignore[no-untyped-call]  # torch's


class _Replaced(torch.autograd.Function):
    """Other values forwards, the gradient of these backwards: exact, where ``a + (b - a)`` rounds."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, forwards: torch.Tensor) -> torch.Tensor:  # noqa: ARG004 - torch's form
        return forwards.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ARG004 - torch's form
        return gradients[0], None


class _Lessened(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0] * ctx.factor, None
