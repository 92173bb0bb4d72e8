"""How much the task's loss would change without a channel, to first order.

Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019, arXiv 1906.10771): a channel is silent
when all weights that take it in are zero, so that the loss changes by about the sum of each such weight times its
gradient. Its square is averaged over batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from overwinter.data import Split
from overwinter.inputs import TensorInputs, take
from overwinter.models import copy_module
from overwinter.sparsity.dependencies import ChannelGroup, Place
from overwinter.sparsity.tracing import TAKES
from overwinter.tasks import Task

_BATCH = 32  # samples


def taylor_importance(
    model: nn.Module, groups: Sequence[ChannelGroup], train: Split, task: Task, *, samples: int, seed: int
) -> list[torch.Tensor]:
    """Return the importance of each group's channels, (channels,), from one pass with gradients.

    Args:
        model: in evaluation mode; not changed.
        groups: of this model.
        train: the training split, from which samples are drawn.
        task: has the loss.
        samples: how many.
        seed: of the drawing.
    """
    trainable = copy_module(model).requires_grad_(True)  # a frozen layer takes channels in, too
    parameters = dict(trainable.named_parameters(remove_duplicate=False))
    taking = [[place for place in group.places if TAKES in place.roles] for group in groups]
    weights = {place.tensor: parameters[place.tensor] for places in taking for place in places}
    squares: list[list[torch.Tensor]] = [[] for _ in groups]
    for inputs, targets in _batches(train.use(task), samples, seed):
        with torch.enable_grad():
            loss = task.loss(trainable(inputs), targets)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        products = {name: weights[name].detach() * each for name, each in zip(weights, gradients, strict=True)}
        for found, places in zip(squares, taking, strict=True):
            found.append(torch.stack([_change(products[place.tensor], place) for place in places]).sum(0).square())
    return [torch.stack(found).mean(0) for found in squares]


def _batches(train: Split, samples: int, seed: int) -> Iterator[tuple[TensorInputs, torch.Tensor]]:
    """Yield samples in batches of equal size, which data in memory has as one."""
    for inputs, targets in train.spread_batches(samples, _BATCH, seed=seed):
        for start in range(0, len(targets), _BATCH):
            part = slice(start, start + _BATCH)
            yield take(inputs, part), targets[part]


def _change(products: torch.Tensor, place: Place) -> torch.Tensor:
    """Return the sum of each channel's weights times their gradients, (channels,)."""
    per_entry = products.transpose(0, place.dimension).flatten(1).sum(dim=1)  # (entries,)
    change: torch.Tensor = per_entry[place.indices].sum(dim=1)
    return change
