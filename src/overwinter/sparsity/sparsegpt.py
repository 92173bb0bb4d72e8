"""SparseGPT: removing weights column by column, the error of each made up for by the columns still to come.

Frantar and Alistarh, https://arxiv.org/abs/2301.00774. The columns go in blocks; what is removed from a block is chosen
when it is reached, by the error that each removal would leave. Of an N:M pattern it is chosen at each group's start.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from overwinter.calibration.hessian import inverse_factor, with_damping
from overwinter.sparsity.n_of_m import NOfM
from overwinter.sparsity.patterns import row_counts, smallest_of_all, smallest_of_groups, smallest_of_rows

Chooser = Callable[[torch.Tensor, int, int], torch.Tensor]
"""(scores (rows, n), first column, one behind the last) -> mask of what is removed."""


def solve_sparsegpt(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    amount: float,
    *,
    scope: str = "layer",
    pattern: NOfM | None = None,
    dampening: float = 0.01,
    column_block: int = 128,
) -> torch.Tensor:
    """Return a weight with zeros, the others moved to make up for them.

    Args:
        weight: (rows, columns), float32.
        hessian: (columns, columns), the mean of x x^T over the inputs x.
        amount: share to remove, 0 to below 1; a pattern has its own.
        scope: ``row`` or ``layer``: within what the weights of a block of columns compete.
        pattern: if given, they compete within groups of M columns.
        dampening: added to the Hessian's diagonal, as a share of its mean.
        column_block: columns of a block; of a pattern a multiple of M.
    """
    factor = inverse_factor(with_damping(hessian, dampening))  # (columns, columns)
    chooser = _chooser(amount, scope, weight.shape)
    values = weight.T.clone(memory_format=torch.contiguous_format)  # (columns, rows): a column lies together
    for begin in range(0, len(values), column_block):
        end = min(begin + column_block, len(values))
        block = values[begin:end].clone()
        errors = _solve_block(block, factor[begin:end, begin:end], begin, chooser, pattern)
        values[begin:end] = block
        values[end:] -= factor[begin:end, end:].T @ errors
    return values.T.contiguous()


def _chooser(amount: float, scope: str, shape: torch.Size) -> Chooser:
    """Choose so many of a block that the share is right over all blocks up to it."""
    rows, columns = shape
    of_rows = row_counts(amount, rows, columns)  # (rows,)
    of_all = min(round(amount * rows * columns), rows * columns - 1)

    def choose(scores: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        if scope == "row":
            counts = of_rows * end // columns - of_rows * begin // columns
            return smallest_of_rows(scores, counts.to(scores.device))
        return smallest_of_all(scores, of_all * end // columns - of_all * begin // columns)

    return choose


def _solve_block(
    values: torch.Tensor, factor: torch.Tensor, begin: int, chooser: Chooser, pattern: NOfM | None
) -> torch.Tensor:
    """Remove weights from a block (n, rows) in place; return the errors to make up for in later ones, (n, rows)."""
    diagonal = factor.diagonal()[:, None]  # (n, 1)
    gone = torch.zeros_like(values, dtype=torch.bool)
    if pattern is None:
        gone = chooser((values / diagonal).square().T, begin, begin + len(values)).T.contiguous()
    errors = torch.zeros_like(values)
    for column in range(len(values)):
        if pattern is not None and column % pattern.of == 0:
            group = slice(column, column + pattern.of)
            gone[group] = smallest_of_groups((values[group] / diagonal[group]).square().T, pattern).T
        torch.div(values[column] * gone[column], diagonal[column], out=errors[column])
        values[column].masked_fill_(gone[column], 0.0)
        values[column + 1 :].addr_(factor[column, column + 1 :], errors[column], alpha=-1)
    return errors
