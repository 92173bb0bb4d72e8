"""Counting: parameters, the weights that can be pruned, and how many of them are zero."""

from __future__ import annotations

import torch
from torch import nn

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
        if isinstance(module, PRUNABLE_LAYERS) and id(module.weight) not in seen:
            seen.add(id(module.weight))
            weights[name] = module.weight
    return weights


def count_parameters(model: nn.Module) -> int:
    """Return how many parameters ``model`` has, zeros included, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def counted_sparsity(model: nn.Module) -> float:
    """Return the share of exact zeros among the prunable weights, 0 to 1."""
    weights = prunable_weights(model).values()
    total = sum(weight.numel() for weight in weights)
    nonzero = sum(int(torch.count_nonzero(weight)) for weight in weights)
    return 1.0 - nonzero / total if total else 0.0
