"""Half-quadratic quantization: scales without any data.

The error of rounding is split by a shrinkage that forgives outliers (the l_p norm, p < 1) and the scale that
fits the rest best is solved for, a few times over. https://mobiusml.github.io/hqq_blog. The original moves the
zero point; here that is an integer, as the kernels take it, so the scale moves instead.
"""

from __future__ import annotations

import torch

from overwinter.models import Codes, Grid
from overwinter.quantization.ranges import search_ranges

_ROUNDS, _NORM, _GROWTH = 20, 0.7, 1.01


def solve_hqq(weight: torch.Tensor, grid: Grid) -> Codes:
    """Return the codes of a weight (out, columns), float32; the zero points are those of the range search."""
    scale, zero = search_ranges(weight, grid)  # (out, groups)
    values, strength = grid.grouped(weight), 10.0  # (out, groups, size)
    origin = torch.full_like(scale, grid.middle) if zero is None else zero
    least = _norm(_levels(values, scale, origin, grid) * scale[:, :, None] - values)
    for _ in range(_ROUNDS):
        levels = _levels(values, scale, origin, grid)  # code - zero point
        fitted = values - _shrunk(values - levels * scale[:, :, None], strength)
        moved = (levels * fitted).sum(2) / levels.square().sum(2).clamp(min=1)  # (out, groups)
        moved = torch.where(moved > 0, moved, scale)
        loss = _norm(_levels(values, moved, origin, grid) * moved[:, :, None] - values)
        scale = torch.where(loss < least, moved, scale)
        least, strength = torch.minimum(loss, least), strength * _GROWTH
    return grid.encode(weight, scale, zero)


def _levels(values: torch.Tensor, scale: torch.Tensor, origin: torch.Tensor, grid: Grid) -> torch.Tensor:
    zero = origin[:, :, None]  # (out, groups, 1)
    return ((values / scale[:, :, None]).round() + zero).clamp(0, grid.top) - zero


def _norm(error: torch.Tensor) -> torch.Tensor:
    return error.abs().pow(_NORM).sum(2)


def _shrunk(error: torch.Tensor, strength: float) -> torch.Tensor:
    size = error.abs()
    return error.sign() * (size - size.clamp(min=1e-8).pow(_NORM - 1) / strength).clamp(min=0)
