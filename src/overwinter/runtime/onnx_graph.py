"""Reading and normalising ONNX graphs, so that equal models have equal bytes."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from overwinter.runtime.session import Array

_WRAPPER = "model."  # `Positional.model`


def layer_of(node_name: str) -> str:
    """Return the name of the torch layer of a node in an exported graph.

    The exporter joins the names of nested modules by slashes, and a child of a Sequential repeats its parent's name:
    ``/blocks.0/inner/inner.2/inner.2.0/Conv`` is ``blocks.0.inner.2.0``.
    """
    parts: list[str] = []
    for part in node_name.strip("/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)


def initializers(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return name -> value of the graph's constants."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def rename_inputs(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give inputs and constants of the graph other names, by their names."""
    for entry in (*graph.input, *graph.initializer):
        entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)


def unwrap(graph: onnx.GraphProto) -> None:
    """Remove `overwinter.models.Positional` from the names of layers and weights."""
    rename_inputs(graph, {each.name: each.name.removeprefix(_WRAPPER) for each in graph.initializer})
    for node in graph.node:
        path = f"/{_WRAPPER.removesuffix('.')}"
        node.name = node.name.replace(f"{path}.", "/", 1) if node.name.startswith(f"{path}.") else node.name
        node.name = node.name.removeprefix(path) if node.name.startswith(f"{path}/") else node.name


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node its own constants and sort nodes and constants; change ``model`` in place and return it.

    The exporter shares equal constants through Identity nodes, which hide a bias from the quantizer; the quantizer
    writes nodes and constants in the order of a set.
    """
    _inline_identities(model.graph)
    _share_no_vectors(model.graph)
    _sort_nodes(model.graph)
    _sort_named(model.graph.initializer)
    _sort_named(model.graph.value_info)
    model.producer_version = ""
    return model


def _inline_identities(graph: onnx.GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    copies = [node for node in graph.node if node.op_type == "Identity" and node.input[0] in constants]
    for node in copies:
        own = graph.initializer.add()
        own.CopyFrom(constants[node.input[0]])
        own.name = node.output[0]
        graph.node.remove(node)


def _share_no_vectors(graph: onnx.GraphProto) -> None:
    """Give every node its own biases, which the newer exporter shares where they are equal."""
    vectors = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 1 and _is_float(tensor)}
    taken: set[str] = set()
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in taken:
                own = graph.initializer.add()
                own.CopyFrom(vectors[name])
                own.name = node.input[index] = f"{name}.{node.output[0]}"
            elif name in vectors:
                taken.add(name)


def _is_float(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_type == onnx.TensorProto.FLOAT)


def _sort_named(field: Any) -> None:
    ordered = sorted(field, key=lambda entry: entry.name)
    del field[:]
    field.extend(ordered)


def _sort_nodes(graph: onnx.GraphProto) -> None:
    nodes = list(graph.node)
    order = _topological([list(node.input) for node in nodes], [list(node.output) for node in nodes])
    del graph.node[:]
    graph.node.extend(nodes[index] for index in order)


def _topological(inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]]) -> list[int]:
    """Return a topological order by Kahn's algorithm; of several ready nodes, the least output name comes first."""
    makers = {name: index for index, names in enumerate(outputs) for name in names if name}
    needed = [{makers[name] for name in names if name in makers} for names in inputs]
    users: dict[int, list[int]] = defaultdict(list)
    for index, sources in enumerate(needed):
        for source in sources:
            users[source].append(index)
    ready = [(outputs[index][0], index) for index, sources in enumerate(needed) if not sources]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            needed[user].discard(index)
            if not needed[user]:
                heapq.heappush(ready, (outputs[user][0], user))
    return order


def float_weights(graph: onnx.GraphProto) -> dict[str, Array]:
    """Return name -> value of the floating-point constants with at least two dimensions."""
    return {
        name: value
        for name, value in initializers(graph).items()
        if value.ndim >= 2 and np.issubdtype(value.dtype, np.floating)
    }
