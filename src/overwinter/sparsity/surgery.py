"""Cutting channels out of a model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from overwinter.models import replace_tensors
from overwinter.sparsity.dependencies import ChannelGroup


def keep_channels(model: nn.Module, group: ChannelGroup, keep: torch.Tensor) -> None:
    """Remove all channels of a group but ``keep``, in place, wherever they occur.

    Args:
        model: changed in place.
        group: from `find_channel_groups` of this very model.
        keep: indices, ascending.
    """
    for producer in group.producers:
        _select(model.get_submodule(producer), keep, dimension=0)
    for follower in group.followers:
        _select(model.get_submodule(follower.layer), _features(keep, follower.block), dimension=0)
    for consumer in group.consumers:
        layer = model.get_submodule(consumer.layer)
        weight = layer.get_parameter("weight")
        replace_tensors(layer, {"weight": weight.detach()[:, _features(keep, consumer.block)].clone()})


def silence_channels(model: nn.Module, group: ChannelGroup, keep: torch.Tensor) -> None:
    """Zero, in place, what the consumers make of all channels of a group but ``keep``.

    The answers are those of the model from which the channels were removed.
    """
    for consumer in group.consumers:
        weight = model.get_submodule(consumer.layer).get_parameter("weight")
        kept = torch.zeros(weight.shape[1], dtype=torch.bool)
        kept[_features(keep, consumer.block)] = True
        with torch.no_grad():
            weight[:, ~kept] = 0.0


def channel_importance(model: nn.Module, group: ChannelGroup) -> torch.Tensor:
    """Return how much each channel of a group can weigh in what its consumers compute, (channels,).

    The norm of the weights that make it (Li et al., "Pruning filters for efficient ConvNets", 2017), scaled
    by the normalisation behind it, if any, times the norm of the weights that take it in. Where several layers make
    it, their outputs are multiplied, and so are these norms.
    """
    produced = torch.ones(group.count)
    for producer in group.producers:
        produced = produced * _norms(model.get_submodule(producer).get_parameter("weight"))
    for follower in group.followers:
        layer = model.get_submodule(follower.layer)
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and follower.block == 1:
            produced = produced * _gain(layer)
    consumed = torch.zeros_like(produced)
    for consumer in group.consumers:
        weight = model.get_submodule(consumer.layer).get_parameter("weight").detach()
        per_feature = _norms(weight.transpose(0, 1))  # (channels * block,)
        consumed += per_feature.view(group.count, consumer.block).square().sum(dim=1)
    importance: torch.Tensor = produced * consumed.sqrt()  # (channels,)
    return importance


def _select(layer: nn.Module, indices: torch.Tensor, *, dimension: int) -> None:
    tensors = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
    # A scalar, such as the number of batches that a normalisation has seen, belongs to no channel.
    sized: Iterable[tuple[str, torch.Tensor]] = ((name, tensor) for name, tensor in tensors if tensor.dim())
    replace_tensors(layer, {name: t.detach().index_select(dimension, indices).clone() for name, t in sized})


def _features(channels: torch.Tensor, block: int) -> torch.Tensor:
    return (channels[:, None] * block + torch.arange(block)).flatten()


def _norms(weight: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(weight.detach().flatten(1), dim=1)  # (out,)
    return norms


def _gain(layer: nn.modules.batchnorm._BatchNorm) -> torch.Tensor:
    scale = layer.weight.detach().abs() if layer.weight is not None else torch.tensor(1.0)
    if layer.running_var is None:
        return scale
    gain: torch.Tensor = scale / (layer.running_var + layer.eps).sqrt()  # (channels,)
    return gain
