"""Layers that torch serves instead of integer layers: dequantized once, or packed (`packed_layers`).

Eager torch has no kernel for float32 inputs and integer weights that is faster than the float one. In bfloat16 it has
one for 4 bits in groups, which reads an eighth of the bytes: a language model generates one token at a time, and
reading weights takes most of that time.
"""

from __future__ import annotations

import copy
import ctypes
from typing import Any

import torch
from torch import nn

from overwinter.inputs import TensorInputs
from overwinter.models import IntegerEmbedding, IntegerLayer, IntegerLinear, integer_layers, replace_layer
from overwinter.runtime.packed_layers import PackedEmbedding, PackedLinear, packs

# Their statistics need more than the 8 bits of bfloat16, and torch computes them in float32 in any case.
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


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
    """Convert a model to bfloat16, in place: parameters converted, integer layers packed, buffers unchanged.

    Args:
        model: model in which all integer layers are weight-only Linear layers or embeddings (`is_weight_only`).
        packed: whether to pack for the CPU's kernel; otherwise all layers are dequantized.
        norms: whether the model computes in bfloat16 throughout, as language models do; for `Autocast` normalisations
            stay in float32, and only 4-bit layers are packed: its batches are large.
    """
    layers, served = integer_layers(model), dict[IntegerLayer, Any]()
    # Heads before the embeddings whose codes they share.
    for layer in sorted(layers.values(), key=lambda each: isinstance(each, IntegerEmbedding)):
        if isinstance(layer, IntegerEmbedding):
            heads = [each for other, each in served.items() if other.source is layer]
            served[layer] = _embedding(layer, heads[0] if heads else None, floating=not norms)
        elif packed and packs(layer) and (norms or layer.grid.bits <= 4):
            served[layer] = PackedLinear(layer)
        else:
            served[layer] = _dequantized(layer, None)
    for name, layer in layers.items():
        replace_layer(model, name, served[layer])
    for module in model.modules():
        if norms or not isinstance(module, _NORMS):
            for parameter in module.parameters(recurse=False):
                if type(parameter.data) is torch.Tensor:  # not one that torchao quantized
                    parameter.data = parameter.data.bfloat16()
    _return_freed_memory()
    return model


def _return_freed_memory() -> None:
    """Give what packing freed back to the system: the C library would keep it, 60 MB for 135 million weights."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


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


class CodesEmbedding(nn.Module):
    """An embedding in bfloat16 that dequantizes the rows it looks up.

    Args:
        layer: integer layer, whose tensors are copied: they may be pages of a file.
    """

    def __init__(self, layer: IntegerEmbedding) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., features) of whole numbers (...)."""
        rows: torch.Tensor = self.layer(input)
        return rows.bfloat16()


def _embedding(layer: IntegerEmbedding, head: nn.Module | None, *, floating: bool) -> nn.Module:
    """Return how an embedding is served whose codes a head may share, or in a model whose sums are in float32."""
    if isinstance(head, PackedLinear):
        return PackedEmbedding(head, layer.factor)
    return _dequantized(layer, head) if head is not None or floating else CodesEmbedding(layer)


class ScaledEmbedding(nn.Embedding):
    """`torch.nn.Embedding` whose rows are multiplied by a number.

    Args:
        weight: (rows, features).
        factor: the number.
    """

    def __init__(self, weight: torch.Tensor, factor: float) -> None:
        super().__init__(weight.shape[0], weight.shape[1], _weight=weight)
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
        plain.bias = layer.bias  # type: ignore[assignment]  # a parameter, or None
    plain.weight = weight
    return plain.eval()
