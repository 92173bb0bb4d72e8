"""Resizing the layers of any module, as after channels were removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models.attention import declare_heads, has_removable_heads
from overwinter.models.counting import is_conv1d

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALISATIONS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
_RESIZABLE = (nn.Linear, nn.Embedding, *_CONVOLUTIONS, *_TRANSPOSED, *_NORMALISATIONS)


def is_resizable(layer: nn.Module) -> bool:
    """Return whether a layer's sizes are those of its tensors."""
    return isinstance(layer, _RESIZABLE) or is_conv1d(layer) or has_removable_heads(layer)


def replace_tensors(layer: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Replace parameters and buffers of a layer and update its declared sizes.

    A parameter stays the object that it was, so that layers which share it, and its optimizer, have the new one too.

    Args:
        layer: `is_resizable`; changed in place.
        tensors: name (``weight``, ``bias``, ``running_mean``, ...) -> its new value.
    """
    for name, tensor in tensors.items():
        old = getattr(layer, name)
        if type(tensor) is torch.Tensor and isinstance(old, nn.Parameter):
            old.data, old.grad = tensor, None
        elif isinstance(old, nn.Parameter):
            setattr(layer, name, nn.Parameter(tensor, requires_grad=old.requires_grad))
        else:
            setattr(layer, name, tensor)
    _declare_sizes(layer)


def resize_layers(model: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
    """Resize, in place, every layer with other saved shapes.

    Args:
        model: freshly built model, with all its channels.
        shapes: tensor name, as in ``state_dict()``, -> saved shape.

    Raises:
        IntegrityError: a tensor of a layer that cannot be resized has another shape.
    """
    for prefix, module in model.named_modules():
        resized = {}
        for name, tensor in _own_tensors(module).items():
            full_name = f"{prefix}.{name}" if prefix else name
            shape = shapes.get(full_name, tensor.shape)
            if list(shape) == list(tensor.shape):
                continue
            if not is_resizable(module) or len(shape) != tensor.dim():
                raise IntegrityError(
                    f"The saved tensor {full_name} has the shape {list(shape)}, the rebuilt model "
                    f"{list(tensor.shape)}. Was the model's code changed after it was saved? Train it again."
                )
            resized[name] = torch.empty(list(shape), dtype=tensor.dtype, device=tensor.device)
        if resized:
            replace_tensors(module, resized)
    declare_sizes(model)


def declare_sizes(model: nn.Module) -> None:
    """Update, in place, the declared sizes of all layers, also of those that share a resized parameter."""
    for module in model.modules():
        _declare_sizes(module)


def _own_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


def _declare_sizes(layer: Any) -> None:
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif is_conv1d(layer):
        layer.nx, layer.nf = layer.weight.shape
    elif isinstance(layer, _CONVOLUTIONS):
        depthwise, made_of_each = layer.groups == layer.in_channels > 1, layer.out_channels // layer.groups
        layer.out_channels = layer.weight.shape[0]
        layer.groups = layer.out_channels // made_of_each if depthwise else layer.groups
        layer.in_channels = layer.weight.shape[1] * layer.groups
    elif isinstance(layer, _TRANSPOSED):
        layer.in_channels, layer.out_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Embedding):
        layer.embedding_dim = layer.weight.shape[1]
    elif isinstance(layer, _NORMALISATIONS):
        sized = layer.weight if layer.weight is not None else layer.running_mean
        layer.num_features = len(sized) if sized is not None else layer.num_features
    else:
        declare_heads(layer)
