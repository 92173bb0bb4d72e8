"""Masks from scores: which weights are removed, whether they compete within a row, a layer, a model, or N:M."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from overwinter.sparsity.n_of_m import NOfM


def smallest(scores: Sequence[torch.Tensor], share: float) -> list[torch.Tensor]:
    """Return a mask for each tensor; together they mark exactly ``share`` of all entries, the smallest."""
    together = torch.cat([each.flatten() for each in scores])  # (entries of all,)
    chosen = smallest_of_all(together, round(share * len(together)))
    parts = torch.split_with_sizes(chosen, [each.numel() for each in scores])
    return [part.view(each.shape) for part, each in zip(parts, scores, strict=True)]


def smallest_of_all(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return a mask of ``count`` entries of a tensor (...), the smallest."""
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    chosen[scores.flatten().topk(count, largest=False, sorted=False).indices] = True
    return chosen.view(scores.shape)


def smallest_of_rows(scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return a mask of the smallest entries in each row of a tensor (..., rows, columns), so many as counts (rows,)."""
    first = torch.arange(scores.shape[-1], device=scores.device) < counts[:, None]  # (rows, columns)
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    return chosen.scatter_(-1, scores.argsort(-1), first.expand_as(scores))


def row_counts(amount: float, rows: int, columns: int) -> torch.Tensor:
    """Return how many of each row's columns are removed (rows,): a row differs from another by one at most."""
    ends = torch.arange(1, rows + 1, dtype=torch.float64).mul(amount * columns).round().long()
    return ends.diff(prepend=ends.new_zeros(1)).clamp(max=columns - 1)


def smallest_of_groups(scores: torch.Tensor, pattern: NOfM) -> torch.Tensor:
    """Return a mask of all but N of every M entries along the columns of a tensor (..., columns), the smallest."""
    grouped = scores.reshape(*scores.shape[:-1], -1, pattern.of)  # (..., groups, M)
    indices = grouped.topk(pattern.of - pattern.kept, largest=False, sorted=False).indices
    return torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, indices, value=True).flatten(-2)


def removed(scores: torch.Tensor, amount: float, *, scope: str, pattern: NOfM | None = None) -> torch.Tensor:
    """Return the mask of what is removed from a matrix (..., rows, columns), the smallest scores.

    At least one weight of a row, or of the layer, is kept.

    Args:
        scores: of its weights.
        amount: share to remove, 0 to below 1; a pattern has its own.
        scope: ``row``: weights compete within their row; ``layer``: within the matrix.
        pattern: if given, they compete within groups of M.
    """
    if pattern is not None:
        return smallest_of_groups(scores, pattern)
    if scope == "row":
        return smallest_of_rows(scores, row_counts(amount, *scores.shape[-2:]).to(scores.device))
    return smallest_of_all(scores, min(round(amount * scores.numel()), scores.numel() - 1))
