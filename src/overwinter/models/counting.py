"""Counting parameters, prunable weights and zeros."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from overwinter.models.integer import integer_layers

PRUNABLE_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def prunable_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return layer name -> weight of every Linear and convolution, each shared weight once."""
    weights: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        if not isinstance(module, PRUNABLE_LAYERS):
            continue
        weight = module.weight  # read once: a parametrized one is computed anew each time
        if id(weight) not in seen:
            seen.add(id(weight))
            weights[name] = weight
    return weights


def other_weights(model: nn.Module) -> dict[str, str]:
    """Return name -> reason of the layers with matrices of their own that are neither Linear nor a convolution.

    Such as an embedding, an LSTM, `torch.nn.MultiheadAttention` or GPT-2's ``Conv1D``: nothing is removed from them,
    and they stay in floating point.
    """
    return {
        name or type(module).__name__: f"{type(module).__name__} is neither Linear nor a convolution"
        for name, module in model.named_modules()
        if not isinstance(module, PRUNABLE_LAYERS) and any(own.dim() > 1 for own in module.parameters(recurse=False))
    }


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, including zeros and integer weights; shared ones count once."""
    integers = sum(math.prod(layer.weight_shape) for layer in integer_layers(model).values())
    return integers + sum(parameter.numel() for parameter in model.parameters())


def counted_sparsity(model: nn.Module) -> float:
    """Return the share of exact zeros among the prunable and the integer weights, 0 to 1."""
    total = nonzero = 0
    for weight in _nonzero(model):
        total += weight.numel()
        nonzero += int(torch.count_nonzero(weight))
    return 1.0 - nonzero / total if total else 0.0


def _nonzero(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield every weight, or a mask of an integer layer's nonzero weights, one at a time because they are large."""
    yield from prunable_weights(model).values()
    for layer in integer_layers(model).values():
        yield layer.zeros().logical_not_()
