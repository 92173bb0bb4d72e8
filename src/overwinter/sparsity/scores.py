"""How much each weight matters, before any other is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from overwinter.calibration.statistics import Gram


def magnitude(weight: torch.Tensor, _gram: Gram | None = None) -> torch.Tensor:
    """Return the absolute value of each weight (groups, rows, columns)."""
    return weight.abs()


def wanda(weight: torch.Tensor, gram: Gram | None) -> torch.Tensor:
    """Return each weight's absolute value times the norm of its input (groups, rows, columns).

    Sun et al., https://arxiv.org/abs/2306.11695.
    """
    assert gram is not None  # noqa: S101 -- a score that needs calibration is given some
    return weight.abs() * gram.products.diagonal(dim1=1, dim2=2).sqrt()[:, None]


SCORES: Mapping[str, Callable[[torch.Tensor, Gram | None], torch.Tensor]] = {"magnitude": magnitude, "wanda": wanda}


def squared_errors(residual: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """Return the squared error of each row's outputs (..., rows).

    Args:
        residual: what a weight lacks (..., rows, columns).
        gram: sum of x x^T over its inputs (..., columns, columns).
    """
    return (residual @ gram * residual).sum(-1).clamp(min=0.0)


def output_error(dense: torch.Tensor, sparse: torch.Tensor, gram: Gram) -> float:
    """Return the norm of a layer's error on the calibration inputs, relative to that of its output without the bias.

    Args:
        dense: weight (groups, rows, columns).
        sparse: what became of it.
        gram: of the inputs.
    """
    lost, whole = (float(squared_errors(each, gram.products).sum()) for each in (dense - sparse, dense))
    return (lost / whole) ** 0.5 if whole > 0 else 0.0
