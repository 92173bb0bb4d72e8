"""Layers that torch serves instead of integer layers: dequantized once, or packed for torch's 4-bit kernel.

Eager torch has no kernel for float32 inputs and integer weights that is faster than the float one. In bfloat16 it has
one for 4 bits in groups, which reads an eighth of the bytes: a language model generates one token at a time, and
reading weights takes most of that time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.inputs import TensorInputs
from overwinter.models import IntegerEmbedding, IntegerLayer, IntegerLinear, integer_layers, replace_layer

_GROUP_SIZES = (32, 64, 128, 256)  # supported by torch's kernel
_ROWS = 16  # the kernel needs a multiple of this many outputs
_FEW = 8  # tokens up to which the packed kernel is faster than the dequantized product
# Their statistics need more than the 8 bits of bfloat16, and torch computes them in float32 in any case.
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_MIDDLE = 8  # the code that torch's kernel subtracts first


def in_float32(model: nn.Module) -> nn.Module:
    """Dequantize weight-only integer Linear layers and embeddings, in place; the outputs are bit-identical.

    A server dequantizes once, on loading, and not at every token. Weights are copied from the mapped file to memory
    aligned to cache lines: products with one row took 5 to 9 % longer from the mapping.
    """
    plain: dict[IntegerLayer, nn.Linear | nn.Embedding] = {}
    for name, layer in integer_layers(model).items():
        if is_weight_only(layer):
            plain[layer] = _dequantized(layer, plain.get(layer.source) if layer.source else None)
            replace_layer(model, name, plain[layer])
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def in_bfloat16(model: nn.Module, *, packed: bool = True, norms: bool = True) -> nn.Module:
    """Convert a model to bfloat16, in place: parameters converted, 4-bit layers packed, buffers unchanged.

    Args:
        model: model in which all integer layers are Linear and weight-only (`is_weight_only`).
        packed: whether to pack for the CPU's kernel; otherwise all layers are dequantized.
        norms: whether to convert normalisations, too; for `Autocast` they stay in float32.
    """
    plain: dict[IntegerLayer, nn.Linear | nn.Embedding] = {}
    for name, layer in integer_layers(model).items():
        if packed and _packs(layer):
            replace_layer(model, name, PackedLinear(layer))
        else:
            plain[layer] = _dequantized(layer, plain.get(layer.source) if layer.source else None)
            replace_layer(model, name, plain[layer])
    for module in model.modules():
        if norms or not isinstance(module, _NORMS):
            for parameter in module.parameters(recurse=False):
                if type(parameter.data) is torch.Tensor:  # not one that torchao quantized
                    parameter.data = parameter.data.bfloat16()
    return model


class Autocast(nn.Module):
    """A module in bfloat16 whose code need not know: products take whatever it computes, sums stay in float32.

    Args:
        model: as `in_bfloat16` returns it, with its normalisations in float32.
        device: device of the module.
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        super().__init__()
        self.model = model
        self._kind = torch.device(device).type

    def forward(self, inputs: TensorInputs) -> torch.Tensor:
        """Return the module's output."""
        with torch.autocast(self._kind, torch.bfloat16, cache_enabled=False):
            output: torch.Tensor = self.model(inputs)
        return output


def is_weight_only(layer: IntegerLayer) -> bool:
    """Return whether the layer differs from a float Linear or embedding only by its weight."""
    kinds = (IntegerLinear, IntegerEmbedding)
    return layer.activations is None and layer.smoothing is None and isinstance(layer, kinds)


class PackedLinear(nn.Module):
    """`torch.nn.Linear` in bfloat16 with a 4-bit weight: packed for few tokens, and a dequantized copy for many.

    Args:
        layer: weight-only layer, in groups that torch's kernel supports.
    """

    codes: torch.Tensor
    scales_and_offsets: torch.Tensor

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        codes = layer.get_codes()
        middle = layer.grid.middle
        zero = torch.full_like(codes.scale, middle) if codes.zero is None else codes.zero.float()
        offsets = torch.stack([codes.scale, (middle - zero) * codes.scale], dim=2)  # (out, groups, 2)
        self._group_size = layer.grid.group_size or layer.columns
        shifted = codes.codes.int() + (_MIDDLE - middle)
        self.register_buffer("codes", torch._convert_weight_to_int4pack_for_cpu(shifted, 1))
        self.register_buffer("scales_and_offsets", offsets.transpose(0, 1).contiguous().bfloat16())
        self.weight = nn.Parameter(layer.weight().bfloat16(), requires_grad=False)
        self.bias = layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., out) of (..., in)."""
        input = input.bfloat16()  # noqa: A001 -- as above
        tokens = input.flatten(0, -2)  # (tokens, in)
        if len(tokens) > _FEW:
            return functional.linear(input, self.weight, self.bias)
        product = torch._weight_int4pack_mm_for_cpu(tokens, self.codes, self._group_size, self.scales_and_offsets)
        output = product if self.bias is None else product + self.bias
        return output.reshape(*input.shape[:-1], -1)


def _packs(layer: IntegerLayer) -> bool:
    size = layer.grid.group_size
    rows, columns = layer.weight_shape
    return layer.grid.bits <= 4 and size in _GROUP_SIZES and columns % size == 0 and rows % _ROWS == 0


class ScaledEmbedding(nn.Embedding):
    """`torch.nn.Embedding` whose rows are multiplied by a number.

    Args:
        weight: (rows, features).
        factor: the number.
    """

    def __init__(self, weight: torch.Tensor, factor: float) -> None:
        super().__init__(*weight.shape, _weight=weight)
        self.factor = factor

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., features) of whole numbers (...)."""
        return super().forward(input) * self.factor


def _dequantized(layer: IntegerLayer, source: nn.Module | None) -> nn.Linear | nn.Embedding:
    """Return the float layer; its weight is that of ``source``, if the integer layer shares its codes."""
    weight: Any = nn.Parameter(layer.weight(), requires_grad=False) if source is None else source.weight
    if isinstance(layer, IntegerEmbedding):
        plain: nn.Linear | nn.Embedding = ScaledEmbedding(weight, layer.factor)
    else:
        rows, columns = layer.weight_shape
        with torch.device("meta"):
            plain = nn.Linear(columns, rows, bias=False)
        plain.bias = layer.bias
    plain.weight = weight
    return plain.eval()
