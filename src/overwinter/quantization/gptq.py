"""GPTQ: rounding a weight column by column, the error of each made up for by the columns still to come.

Frantar et al., https://arxiv.org/abs/2210.17323. Columns go in the order of falling input energy while groups and
their ranges stay where they are (static activation order); ranges are searched with the Hessian's diagonal as
weights; and where the inputs have drifted from the dense model's because earlier layers are quantized already, the
weight is first moved so that it answers the drifted inputs more as the dense one answered its own (asymmetric
calibration, https://arxiv.org/abs/2504.02692).
"""

from __future__ import annotations

import torch

from overwinter.models import Codes, Grid
from overwinter.quantization.ranges import search_ranges

_STRIDE = 128
# How far a weight follows the drift of its inputs, as in the authors' code. In full, each layer shrinks what is noisy:
# cosine to dense of MiniLM in 4 bits 0.936, with a quarter 0.989, with nothing 0.987; SmolLM2's perplexity 1.8 times.
_TRUST = 0.25


def solve_gptq(
    weight: torch.Tensor, grid: Grid, hessian: torch.Tensor, drift: torch.Tensor | None = None, *, damping: float = 0.05
) -> Codes:
    """Return the codes of a weight for the inputs that it will see.

    Args:
        weight: (out, columns), float32.
        grid: the codes' grid.
        hessian: (columns, columns), the mean of x x^T over the inputs x.
        drift: the mean of (x_dense - x) x^T over the same inputs; None: there is none.
        damping: added to the Hessian's diagonal, as a share of its mean.
    """
    damped = _damped(hessian, damping)
    zeros = weight == 0
    if drift is not None:
        weight = weight + _TRUST * torch.linalg.solve(damped, drift.T @ weight.T).T
    weight = weight.masked_fill(zeros, 0.0)  # what is sparse stays sparse
    scale, zero = search_ranges(weight, grid, hessian.diagonal())
    order = hessian.diagonal().argsort(descending=True)
    factor = _inverse_factor(damped[order][:, order])
    decoded = _rounded(weight[:, order], zeros[:, order], factor, order, grid, scale, zero)
    return grid.encode(decoded[:, order.argsort()], scale, zero)


def _damped(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    mean = hessian.diagonal().mean().clamp(min=1e-8)
    return hessian + damping * mean * torch.eye(len(hessian), device=hessian.device)


def _inverse_factor(hessian: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def _rounded(
    weight: torch.Tensor,
    zeros: torch.Tensor,
    factor: torch.Tensor,
    order: torch.Tensor,
    grid: Grid,
    scale: torch.Tensor,
    zero: torch.Tensor | None,
) -> torch.Tensor:
    """Round columns in their order; return the values on the grid, in the same order."""
    weight, columns = weight.clone(), weight.shape[1]
    groups = order // (columns if grid.group_size is None else grid.group_size)
    for begin in range(0, columns, _STRIDE):
        end = min(begin + _STRIDE, columns)
        errors = torch.zeros_like(weight[:, begin:end])
        for column in range(begin, end):
            steps = scale[:, groups[column]]
            origin = grid.middle if zero is None else zero[:, groups[column]]
            codes = ((weight[:, column] / steps).round() + origin).clamp(0, grid.top)
            value = ((codes - origin) * steps).masked_fill(zeros[:, column], 0.0)
            errors[:, column - begin] = (weight[:, column] - value) / factor[column, column]
            weight[:, column] = value
            weight[:, column + 1 : end] -= errors[:, column - begin, None] * factor[column, column + 1 : end]
        weight[:, end:] -= errors @ factor[begin:end, end:]
    return weight
