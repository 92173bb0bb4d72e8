"""Which entries of which tensors can only be removed together.

An entry of a parameter along one of its dimensions has a label, a number above zero. A tensor that is computed from it
carries labels too: a compact tensor of whole numbers with as many dimensions, of size 1 in those along which the label
is the same. Where two tensors are combined, the labels that meet are coupled; where entries are mixed otherwise, they
are pinned, with the reason: they stay. Label 0 stands for what belongs to no parameter.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Labels = torch.Tensor
"""Whole numbers, of the rank of the tensor that they belong to."""


def compact(labels: torch.Tensor) -> Labels:
    """Return labels with size 1 in every dimension along which they do not change."""
    for dimension in range(labels.dim()):
        first = labels.narrow(dimension, 0, 1)
        if labels.size(dimension) > 1 and (labels.stride(dimension) == 0 or bool((labels == first).all())):
            labels = first
    return labels


def varying(labels: Labels) -> set[int]:
    """Return the dimensions along which compact labels change."""
    return {dimension for dimension, size in enumerate(labels.shape) if size > 1}


def aligned(labels: Labels, rank: int) -> Labels:
    """Return labels with leading dimensions of size 1, as broadcasting adds them."""
    return labels.reshape([1] * (rank - labels.dim()) + list(labels.shape))


class Couplings:
    """Collects which labels belong together, and which stay."""

    def __init__(self) -> None:
        self._count = 1
        self._pairs: list[torch.Tensor] = []
        self._pinned: list[tuple[torch.Tensor, str]] = []

    def fresh(self, count: int) -> torch.Tensor:
        """Return new labels (count,)."""
        self._count += count
        return torch.arange(self._count - count, self._count)

    def pin(self, labels: torch.Tensor, reason: str) -> None:
        """Let labels stay."""
        self._pinned.append((labels.flatten(), reason))

    def couple(self, one: torch.Tensor, other: torch.Tensor, reason: str) -> None:
        """Let the labels that meet, broadcast, go together; those that meet a 0 stay, with the reason."""
        pairs = torch.stack([(one + 0 * other).flatten(), (other + 0 * one).flatten()])  # (2, entries), broadcast
        alone = (pairs == 0).any(dim=0)
        if bool(alone.any()):
            self.pin(pairs[:, alone], reason)
        self._pairs.append(pairs[:, ~alone])

    def collapse(self, labels: Labels, dimensions: Iterable[int], reason: str) -> Labels | None:
        """Let all that lies along some dimensions go together, as the features of an attention head.

        Returns:
            the labels without a change along these dimensions; None: nothing else distinguished them, so they stay.
        """
        along = varying(labels).intersection(dimensions)
        if not along:
            return labels
        first = labels
        for dimension in along:
            first = first.narrow(dimension, 0, 1)
        if first.numel() == 1:
            self.pin(labels, reason)
            return None
        self.couple(labels, first, reason)
        return first

    def join(self, one: Labels, other: Labels, reason: str) -> Labels | None:
        """Couple the labels of two tensors that are combined entry by entry, and return the result's; None: they stay.

        Args:
            one: of the same rank as the other.
            other: may change along more dimensions, or along fewer.
            reason: why they stay where it cannot be.
        """
        more, less = (one, other) if varying(one) >= varying(other) else (other, one)
        if not varying(more) >= varying(less):
            self.pin(one, reason)
            self.pin(other, reason)
            return None
        self.couple(more, less, reason)
        return more

    def components(self) -> tuple[torch.Tensor, dict[int, str]]:
        """Return label -> number of what goes together, (labels,), and number -> why it stays."""
        pairs = torch.cat([torch.empty(2, 0, dtype=torch.int64), *self._pairs], dim=1).numpy()
        graph = coo_matrix((np.ones(pairs.shape[1], dtype=bool), (pairs[0], pairs[1])), shape=[self._count] * 2)
        numbers = torch.from_numpy(connected_components(graph, directed=False)[1].astype(np.int64))
        reasons: dict[int, str] = {int(numbers[0]): "it belongs to no parameter"}
        for labels, reason in self._pinned:
            for number in set(numbers[labels].tolist()):
                reasons.setdefault(number, reason)
        return numbers, reasons
