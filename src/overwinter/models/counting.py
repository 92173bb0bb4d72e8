"""Counting parameters, prunable weights and zeros."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from overwinter.models.integer import IntegerEmbedding
from overwinter.models.swapping import integer_layers, unique_integers

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
    """Return name -> reason of the matrices that belong to no Linear and no convolution.

    Such as those of an embedding, an LSTM, `torch.nn.MultiheadAttention` or GPT-2's ``Conv1D``, each by its layer's
    name, and parameters of a module with layers of its own, such as positions. Nothing is removed from them, and they
    stay in floating point.
    """
    found: dict[str, str] = {}
    for name, module in model.named_modules():
        matrices = [own for own, tensor in module.named_parameters(recurse=False) if tensor.dim() > 1]
        if not matrices or isinstance(module, PRUNABLE_LAYERS):
            continue
        kind = type(module).__name__
        own_experts = "expert" in kind.lower() and any(getattr(module, own).dim() == 3 for own in matrices)
        if (
            name
            and not own_experts
            and (
                isinstance(module, nn.MultiheadAttention)
                or type(module).__module__.startswith("torch.nn.")
                or not list(module.children())
            )
        ):
            found[name] = f"{kind} is neither Linear nor a convolution"
        else:
            found |= {f"{name}.{own}" if name else own: _reason(kind, getattr(module, own)) for own in matrices}
    return found


def _reason(kind: str, parameter: torch.Tensor) -> str:
    if parameter.dim() == 3 and "expert" in kind.lower():
        return f"it holds the weights of {len(parameter)} experts in one parameter of {kind}, not each in a Linear"
    return f"it is a parameter of {kind} itself, not of a Linear or a convolution"


def is_conv1d(layer: nn.Module) -> bool:
    """Return whether a layer is transformers' ``Conv1D``, a linear layer whose weight is (in, out), as in GPT-2."""
    kind = type(layer)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, including zeros and integer weights; shared ones count once."""
    integers = sum(math.prod(layer.weight_shape) for layer in unique_integers(model).values())
    return integers + sum(parameter.numel() for parameter in model.parameters())


def counted_sparsity(model: nn.Module) -> float:
    """Return the share of exact zeros among the prunable, the ``Conv1D`` and the integer weights, 0 to 1."""
    total = nonzero = 0
    for weight in _nonzero(model):
        total += weight.numel()
        nonzero += int(torch.count_nonzero(weight))
    return 1.0 - nonzero / total if total else 0.0


def _nonzero(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield every weight, or a mask of an integer layer's nonzero weights, one at a time because they are large."""
    yield from prunable_weights(model).values()
    yield from (layer.get_parameter("weight") for layer in model.modules() if is_conv1d(layer))
    for layer in integer_layers(model).values():
        if not isinstance(layer, IntegerEmbedding):  # as a float one
            yield layer.zeros().logical_not_()
