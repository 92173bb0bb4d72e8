"""Folding of batch normalisation into the preceding convolution, with its weight kept in integers.

torch's exporter folds it into float weights only. After an integer convolution it would keep runtimes from computing
in integers, because they need the next QuantizeLinear (or Relu) directly: Fashion-MNIST's network took twice as long.
Codes stay codes: a channel's scale absorbs the size of its factor, and its codes absorb the sign.

If no grid follows, for example before an average, one of 8 bits is added after the ReLU, so that this convolution is
computed in integers too. Its range is 6 standard deviations, known from the normalisation: Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", 2019, https://arxiv.org/abs/1906.04721.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx

from overwinter.runtime.onnx_graph import initializers
from overwinter.runtime.session import Array

_DEVIATIONS = 6.0
_TOP = 255
_LOWEST = -128  # of 8 bits: it has no counterpart


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A convolution with an integer weight, and the batch normalisation that is its only reader."""

    weight: onnx.NodeProto
    convolution: onnx.NodeProto
    normalisation: onnx.NodeProto


def fold_normalisations(graph: onnx.GraphProto) -> int:
    """Fold every batch normalisation after a convolution on dequantized codes; return their number.

    It is not folded if it would negate a code of -128, or if the convolution shares its weight.
    """
    constants = initializers(graph)
    pairs = [pair for pair in _pairs(graph, constants) if _fold(graph, pair, constants)]
    for pair in pairs:
        graph.node.remove(pair.normalisation)
    for pair in pairs:
        _end_on_a_grid(graph, pair, constants)
    return len(pairs)


def _pairs(graph: onnx.GraphProto, constants: dict[str, Array]) -> list[_Pair]:
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    found = []
    for node in graph.node:
        convolution = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        weight = makers.get(convolution.input[1]) if convolution is not None and convolution.op_type == "Conv" else None
        if convolution is None or weight is None or weight.op_type != "DequantizeLinear" or len(weight.input) > 2:
            continue
        alone = [convolution.output[0], weight.output[0], *weight.input]
        needed = {*weight.input, *node.input[1:], *convolution.input[2:]}
        if all(uses[name] == 1 for name in alone) and needed <= set(constants):
            found.append(_Pair(weight=weight, convolution=convolution, normalisation=node))
    return found


def _fold(graph: onnx.GraphProto, pair: _Pair, constants: dict[str, Array]) -> bool:
    codes, scale = (constants[name] for name in pair.weight.input)
    gamma, beta, mean, variance = (constants[name] for name in pair.normalisation.input[1:5])
    factor = gamma / np.sqrt(variance + _epsilon(pair.normalisation))
    per_channel = (-1, *[1] * (codes.ndim - 1))
    negative = np.reshape(factor < 0, per_channel)
    if np.any(negative & (codes == _LOWEST)):
        return False
    folded = np.where(negative, -codes, codes) * np.reshape(factor != 0, per_channel)
    _set(graph, pair.weight.input[0], folded.astype(codes.dtype))
    # A channel with factor 0 keeps its scale, which must not be 0; its codes become 0.
    _set(graph, pair.weight.input[1], (scale * np.where(factor == 0, 1.0, np.abs(factor))).astype(scale.dtype))
    before = constants[pair.convolution.input[2]] if len(pair.convolution.input) > 2 else 0.0
    name = f"{pair.convolution.output[0]}_folded_bias"
    graph.initializer.append(onnx.numpy_helper.from_array((beta + (before - mean) * factor).astype(np.float32), name))
    inputs = [*pair.convolution.input[:2], name]
    del pair.convolution.input[:]
    pair.convolution.input.extend(inputs)
    pair.convolution.output[0] = pair.normalisation.output[0]
    return True


def _end_on_a_grid(graph: onnx.GraphProto, pair: _Pair, constants: dict[str, Array]) -> None:
    """Add a grid after the ReLU of a folded convolution with quantized input, if no other grid follows."""
    users = _users(graph, pair.convolution.output[0])
    on_grid = any(pair.convolution.input[0] in node.output for node in graph.node if node.op_type == "DequantizeLinear")
    if not on_grid or [each.op_type for each in users] != ["Relu"]:
        return
    name = users[0].output[0]
    behind = _users(graph, name)
    while behind and all(each.op_type == "MaxPool" for each in behind):  # a grid passes through it unchanged
        behind = [user for each in behind for user in _users(graph, each.output[0])]
    gamma, beta = (constants[each] for each in pair.normalisation.input[1:3])
    top = float(np.max(beta + _DEVIATIONS * np.abs(gamma)))
    if top <= 0 or not behind or any(each.op_type == "QuantizeLinear" for each in behind):
        return
    scale, zero = f"{name}_scale", f"{name}_zero_point"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(top / _TOP, np.float32), scale))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.uint8), zero))
    for user in _users(graph, name):
        user.input[list(user.input).index(name)] = f"{name}_dequantized"
    graph.node.append(onnx.helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_quantized"]))
    codes = [f"{name}_quantized", scale, zero]
    graph.node.append(onnx.helper.make_node("DequantizeLinear", codes, [f"{name}_dequantized"]))


def _users(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if name in node.input]


def _epsilon(node: onnx.NodeProto) -> float:
    return next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)


def _set(graph: onnx.GraphProto, name: str, value: Array) -> None:
    constant = next(each for each in graph.initializer if each.name == name)
    constant.CopyFrom(onnx.numpy_helper.from_array(value, name))
