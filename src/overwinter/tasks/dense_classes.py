"""What tasks share that predict a class at every position of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from overwinter.tasks.interface import Array, Values
from overwinter.tasks.numbers import kl_divergence
from overwinter.tasks.targets import IGNORED

if TYPE_CHECKING:
    import torch


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy over the positions that count.

    Args:
        logits: (n, classes, ...).
        targets: (n, ...).
    """
    from torch.nn import functional

    return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED)


def mean_divergence(logits: Array, reference: Array) -> Values:
    """Return the Kullback-Leibler divergence in nats, the mean over each sample's positions (n,).

    Args:
        logits: (n, ..., classes).
        reference: (n, ..., classes).
    """
    per_position = kl_divergence(logits, reference)
    return np.asarray(per_position.reshape(len(per_position), -1).mean(axis=1))


def counted(predicted: Array, targets: Array) -> tuple[Array, Array]:
    """Return predictions and targets (positions,) of the positions that count."""
    counts = targets != IGNORED
    return predicted[counts], targets[counts]
