"""Unique tensors of a module, checked or shared without copies because they may be as large as the memory."""

from __future__ import annotations

import copy

import torch
from torch import nn


def unique_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return name -> parameter or buffer, not copied; a tensor with two names appears under the first."""
    unique: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor.detach()
    return unique


def copy_module(model: nn.Module) -> nn.Module:
    """Return a deep copy, also of a module whose hooks compute tensors, as those of `torch.nn.utils.weight_norm`."""
    return copy.deepcopy(model, _computed_tensors(model))


def _computed_tensors(model: nn.Module) -> dict[int, object]:
    """Return id -> what stands in a copy for each tensor that torch refuses to copy; the next call computes it."""
    attributes = [value for module in model.modules() for value in vars(module).values()]
    return {id(each): each.detach() for each in attributes if isinstance(each, torch.Tensor) and not each.is_leaf}


def twin(model: nn.Module) -> nn.Module:
    """Return a second module with parameters on the same memory, to convert or to replace layers in.

    It has its own `Parameter` objects, and its own buffers, which a ``forward`` may change.
    """
    shared = {id(each): nn.Parameter(each.detach(), requires_grad=each.requires_grad) for each in model.parameters()}
    return copy.deepcopy(model, _computed_tensors(model) | shared)


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether a float tensor has neither NaN nor infinity; `torch.isfinite` would allocate two of its size."""
    if tensor.numel() == 0:
        return True
    low, high = tensor.detach().aminmax()  # either is NaN if any is
    return bool(low.isfinite() & high.isfinite())


def drop_negative_zeros(model: nn.Module) -> None:
    """Turn every -0.0 of a model's parameters into 0.0, in place.

    A weight times a mask leaves -0.0, whose bits are not all zero: in a packed file it would take the room of a value.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.0)
