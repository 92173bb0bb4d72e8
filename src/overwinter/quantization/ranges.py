"""Scales and zero points of a weight's groups: searched, not just taken from the least and largest value.

A range that cuts off the rarest values costs less than one that spends codes on them. Every bound is shrunk in
steps and the pair of least error is kept; the error of a column counts as much as its inputs are large, which is
the diagonal of the Hessian that GPTQ uses.
"""

from __future__ import annotations

import torch

from overwinter.models import Grid

_SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
_AT_ONCE = 1 << 16  # values searched together: what stays in a core's cache,
_AT_ONCE_ELSEWHERE = 1 << 24  # and on a device: what keeps it busy, in some hundreds of MB


def search_ranges(
    matrix: torch.Tensor, grid: Grid, importance: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return scale and zero point (out, groups) of least weighted squared error; the zero is None when symmetric.

    Args:
        matrix: weight (out, columns), float32.
        grid: on which it will be rounded.
        importance: (columns,) by which squared errors count; None: all alike.
    """
    # (1, groups, size), as `_searched` takes them
    weights = grid.grouped((torch.ones_like(matrix[0]) if importance is None else importance)[None])
    rows = max(1, (_AT_ONCE if matrix.is_cpu else _AT_ONCE_ELSEWHERE) // matrix.shape[1])
    parts = [_searched(grid.grouped(part), grid, weights) for part in torch.split(matrix, rows)]
    zeros = [zero for _, zero in parts if zero is not None]
    return torch.cat([scale for scale, _ in parts]), torch.cat(zeros) if zeros else None


def _searched(values: torch.Tensor, grid: Grid, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The search for a few rows (rows, groups, size), with the importance of each column (1, groups, size)."""
    low, high = values.amin(2).clamp(max=0), values.amax(2).clamp(min=0)  # (rows, groups)
    best, least = grid.between(low, high), None
    for cut_low in [1.0] if grid.symmetric else _SHRUNK:
        for cut_high in _SHRUNK:
            shrunk_low = low * (cut_high if grid.symmetric else cut_low)
            candidate = grid.between(shrunk_low, high * cut_high)
            error = (_rounding_error(values, grid, *candidate).square() * weights).sum(2)  # (rows, groups)
            if least is None:
                best, least = candidate, error
            else:
                best = _where(error < least, candidate, best)
                least = torch.minimum(error, least)
    return best


def _rounding_error(values: torch.Tensor, grid: Grid, scale: torch.Tensor, zero: torch.Tensor | None) -> torch.Tensor:
    origin = grid.middle if zero is None else zero[:, :, None]  # (rows, groups, 1)
    codes = ((values / scale[:, :, None]).round() + origin).clamp(0, grid.top)  # (rows, groups, size)
    return (codes - origin) * scale[:, :, None] - values


def _where(
    better: torch.Tensor,
    new: tuple[torch.Tensor, torch.Tensor | None],
    old: tuple[torch.Tensor, torch.Tensor | None],
) -> tuple[torch.Tensor, torch.Tensor | None]:
    scale = torch.where(better, new[0], old[0])  # (rows, groups)
    return scale, None if new[1] is None or old[1] is None else torch.where(better, new[1], old[1])
