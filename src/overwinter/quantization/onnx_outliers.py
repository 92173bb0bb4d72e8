"""Outlier channels of a product's input, multiplied in floating point beside the integers.

A few channels of a transformer's activations are many times larger than all others, so that one range for all leaves
the others a few codes: of all-MiniLM-L6-v2's feed-forward layers, half of the tokens were off by up to 18 % by one
channel of 1536. Those channels are taken out by name, as LLM.int8() does at run time (Dettmers et al., 2022,
https://arxiv.org/abs/2208.07339). Here they are chosen by calibration: the integer product has zeros in their rows, so
what it makes of them does not matter, and a small float product adds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # has no types

from overwinter.runtime import Array, initializers, tidy

_MOST = 8  # channels: their products and sums cost about 1 % of a layer's time
_ERRORS_ONLY = 3
_SUFFIX = "_outliers"


@dataclass(frozen=True, kw_only=True)
class Split:
    """A graph whose outlier channels were taken out.

    Attributes:
        model: a copy of the graph.
        ranges: input tensor of integer products -> its least and largest value in the other channels.
        channels: name of a product -> the number of channels that were taken out.
        added: names of the float products.
    """

    model: onnx.ModelProto
    ranges: Mapping[str, tuple[float, float]]
    channels: Mapping[str, int]
    added: Sequence[str]


def split_outliers(
    exported: onnx.ModelProto, products: Collection[str], batches: Iterable[Mapping[str, Array]]
) -> Split:
    """Take the outlier channels out of the products that will be computed in integers.

    Args:
        exported: the float graph; it is not changed.
        products: names of the nodes that will be quantized.
        batches: calibration inputs by name.
    """
    shared = _inputs_of_products(exported.graph, products)
    lows, highs = _channel_ranges(exported, list(shared), batches)
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    ranges: dict[str, tuple[float, float]] = {}
    channels: dict[str, int] = {}
    added: list[str] = []
    for tensor in shared:
        names = {node.name for node in shared[tensor]}
        rounded = _branch(model.graph, tensor, names)
        places = outliers(np.maximum(highs[tensor], -lows[tensor]))
        if not len(places):
            continue
        others = np.setdiff1d(np.arange(len(lows[tensor])), places)
        ranges[rounded] = min(0.0, float(lows[tensor][others].min())), max(0.0, float(highs[tensor][others].max()))
        added += _take_out(model.graph, tensor, names, places)
        channels |= dict.fromkeys(names, len(places))
    return Split(model=tidy(model), ranges=ranges, channels=channels, added=added)


def outliers(largest: Array) -> Array:
    """Return the channels without which the range is half as wide, or a quarter, and so on, in ascending order.

    A channel is one if it is more than twice as large as all that stay; there are at most 8, and more never pay: then
    it is not some channels that are large, but the values of all.

    Args:
        largest: largest absolute value of each channel (channels,).
    """
    order = np.argsort(-largest, kind="stable")
    taken = 0
    while taken < len(order) and largest[order[taken]] > 0:
        above = int((largest > largest[order[taken]] / 2).sum())
        if above > _MOST or above >= len(order):
            break
        taken = above
    return np.sort(order[:taken])


def _inputs_of_products(graph: onnx.GraphProto, products: Collection[str]) -> dict[str, list[onnx.NodeProto]]:
    """Return tensor -> the products that read it, where all that are quantized are of it and a constant matrix."""
    constants = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    uses = [name for node in graph.node for name in node.input]
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.name in products:
            readers.setdefault(node.input[0], []).append(node)
    return {
        tensor: nodes
        for tensor, nodes in readers.items()
        if all(each.op_type == "MatMul" and constants.get(each.input[1]) == 2 for each in nodes)
        and all(uses.count(each.input[1]) == 1 for each in nodes)
    }


def _channel_ranges(
    exported: onnx.ModelProto, tensors: Sequence[str], batches: Iterable[Mapping[str, Array]]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return each tensor's least and largest values by channel, the last axis."""
    watched = onnx.ModelProto()
    watched.CopyFrom(exported)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    lows: dict[str, Array] = {}
    highs: dict[str, Array] = {}
    for batch in batches:
        for name, values in zip(tensors, session.run(list(tensors), dict(batch)), strict=True):
            rows = values.reshape(-1, values.shape[-1])
            low, high = rows.min(0), rows.max(0)
            lows[name] = np.minimum(lows.get(name, low), low)
            highs[name] = np.maximum(highs.get(name, high), high)
    return lows, highs


def _branch(graph: onnx.GraphProto, tensor: str, names: Collection[str]) -> str:
    """Let the products read a tensor of their own, and return its name.

    ONNX Runtime's tool gives a rounded tensor to all that read it, a residual sum among them, which would hand the
    error on to all later layers.
    """
    own = f"{tensor}_of_products"
    for node in graph.node:
        if node.name in names:
            node.input[0] = own
    graph.node.append(onnx.helper.make_node("Identity", [tensor], [own], f"/{own}"))
    return own


def _take_out(graph: onnx.GraphProto, tensor: str, names: Collection[str], places: Array) -> list[str]:
    """Add the float products of a tensor's outlier channels; return their names."""
    weights = initializers(graph)
    gathered, indices = f"{tensor}{_SUFFIX}", f"{tensor}{_SUFFIX}_places"
    _add_constant(graph, indices, places.astype(np.int64))
    nodes, added = [], []
    for node in graph.node:
        if node.op_type == "MatMul" and node.name in names:
            weight, own, result = node.input[1], f"{node.input[1]}{_SUFFIX}", node.output[0]
            rest = weights[weight].copy()  # (in, out)
            _add_constant(graph, own, rest[places])
            rest[places] = 0
            _set_constant(graph, weight, rest)
            node.output[0] = f"{result}_others"
            added.append(f"{node.name}{_SUFFIX}")
            nodes.append(onnx.helper.make_node("MatMul", [gathered, own], [f"{result}{_SUFFIX}"], added[-1]))
            sides = [node.output[0], f"{result}{_SUFFIX}"]
            nodes.append(onnx.helper.make_node("Add", sides, [result], f"{node.name}_with{_SUFFIX}"))
    graph.node.append(onnx.helper.make_node("Gather", [tensor, indices], [gathered], f"/{gathered}", axis=-1))
    graph.node.extend(nodes)
    return added


def _add_constant(graph: onnx.GraphProto, name: str, value: Array) -> None:
    graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))


def _set_constant(graph: onnx.GraphProto, name: str, value: Array) -> None:
    for tensor in graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, name))
