"""Cutting channels out of a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from overwinter.models import declare_sizes, replace_tensors
from overwinter.sparsity.dependencies import ChannelGroup, Place
from overwinter.sparsity.tracing import TAKES

Sliced = Callable[[torch.Tensor, int, torch.Tensor], None]
"""Called with a parameter before it is cut, the dimension and the indices that stay."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """What is to be removed from a group.

    Attributes:
        group: from `find_channel_groups` of the very model.
        keep: numbers of the channels that stay, ascending, at least one.
    """

    group: ChannelGroup
    keep: torch.Tensor

    def removed(self, place: Place) -> torch.Tensor:
        """Return the entries of a place that go."""
        gone = torch.ones(self.group.count, dtype=torch.bool)
        gone[self.keep] = False
        return place.indices[gone].flatten()


def remove_channels(model: nn.Module, cuts: Sequence[Cut], *, sliced: Sliced | None = None) -> None:
    """Remove channels wherever they occur, in place; every parameter stays the object that it was.

    Args:
        model: changed in place.
        cuts: of different groups, all from the model as it is.
        sliced: is called for every parameter that is cut, once for each of its dimensions.
    """
    tensors = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    stays = {
        key: torch.ones(tensors[key[0]].size(key[1]), dtype=torch.bool)
        for key in {(place.tensor, place.dimension) for cut in cuts for place in cut.group.places}
    }
    for cut in cuts:
        for place in cut.group.places:
            stays[place.tensor, place.dimension][cut.removed(place)] = False
    smaller: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for (tensor, dimension), mask in sorted(stays.items()):
        layer, _, own = tensor.rpartition(".")
        indices = mask.nonzero().flatten().to(tensors[tensor].device)
        if sliced is not None and isinstance(tensors[tensor], nn.Parameter):
            sliced(tensors[tensor], dimension, indices)
        whole = smaller[layer].get(own, tensors[tensor].detach())
        smaller[layer][own] = select(whole, dimension, indices)
    for layer, own_tensors in smaller.items():
        replace_tensors(model.get_submodule(layer), own_tensors)
    declare_sizes(model)


def select(tensor: torch.Tensor, dimension: int, indices: torch.Tensor) -> torch.Tensor:
    """Return some entries along a dimension, in the memory layout that the tensor has."""
    inner = tensor.dim() == 4 and not tensor.is_contiguous()
    selected = tensor.index_select(dimension, indices)
    return selected.contiguous(memory_format=torch.channels_last) if inner else selected


@torch.no_grad()
def silence_channels(model: nn.Module, cuts: Sequence[Cut]) -> None:
    """Zero, in place, what is made of the channels that go: the outputs are those of the smaller model."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for cut in cuts:
        for place in cut.group.places:
            if TAKES in place.roles:
                tensors[place.tensor].index_fill_(place.dimension, cut.removed(place), 0.0)


@torch.no_grad()
def channel_importance(model: nn.Module, group: ChannelGroup) -> torch.Tensor:
    """Return how much each channel of a group can weigh in what is made of it, (channels,).

    The norm of the weights that make it (Li et al., "Pruning filters for efficient ConvNets", 2017), scaled
    by the normalisations behind them, if any, times the norm of the weights that take it in. Where several layers make
    it, and their outputs are multiplied or added, it is the geometric mean of theirs.
    """
    tensors = dict(model.named_parameters(remove_duplicate=False))
    logarithm, makers = torch.zeros(group.count), 0
    taken = torch.zeros(group.count)
    for place in group.places:
        layer = model.get_submodule(place.layer)
        if place.is_made:
            logarithm, makers = logarithm + _norms(tensors[place.tensor], place).log(), makers + 1
        if TAKES in place.roles:
            taken += _norms(tensors[place.tensor], place).square()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and place.tensor.endswith(_scaling(layer)):
            logarithm = logarithm + _gain(layer)[place.indices[:, 0]].log()
    importance: torch.Tensor = (logarithm / max(1, makers)).exp() * taken.sqrt()  # (channels,)
    return importance


def _norms(weight: torch.Tensor, place: Place) -> torch.Tensor:
    """Return the norm of the weights of each channel, (channels,)."""
    per_entry = weight.detach().float().cpu().transpose(0, place.dimension).flatten(1).square().sum(dim=1)  # (entries,)
    norms: torch.Tensor = per_entry[place.indices].sum(dim=1).sqrt()
    return norms


def _scaling(layer: nn.modules.batchnorm._BatchNorm) -> str:
    """Return by which of a normalisation's tensors its gain is counted, once."""
    return "weight" if layer.weight is not None else "running_var"


def _gain(layer: nn.modules.batchnorm._BatchNorm) -> torch.Tensor:
    scale = layer.weight.detach().abs().cpu() if layer.weight is not None else torch.tensor(1.0)
    if layer.running_var is None:
        return scale
    gain: torch.Tensor = scale / (layer.running_var.cpu() + layer.eps).sqrt()  # (channels,)
    return gain
