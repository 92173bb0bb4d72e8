"""Export by the exporter that torch maintains: `torch.export`, then ONNX operators by onnxscript.

It keeps lengths that vary where tracing freezes them, as in `torch.nn.MultiheadAttention`, and takes seconds: 8 s of
CPU time for the first network of a process, even the smallest, which is traced in 0.2 s.
https://docs.pytorch.org/docs/stable/onnx_export.html
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import nn

from overwinter.models import Positional
from overwinter.runtime.onnx_graph import initializers, unwrap
from overwinter.signature import OUTPUT, Signature

_OPSET = 20  # the default of torch 2.11 to 2.13
_SCOPES = "pkg.torch.onnx.name_scopes"


def export_program(model: nn.Module, given: Sequence[torch.Tensor], signature: Signature) -> onnx.ModelProto:
    """Return the graph of a module, its nodes named by their layers as by the tracing exporter.

    Args:
        model: module in evaluation mode.
        given: example inputs, in the signature's order.
        signature: the model's; its axes that vary stay dynamic.

    Raises:
        Exception: of many kinds; the module has an operation that ONNX lacks, or depends on a tensor's values.
    """
    names = tuple(
        {axis: "batch" if axis == 0 else f"{spec.name}_{axis}" for axis, side in enumerate(spec.shape) if side is None}
        for spec in signature.inputs
    )
    dynamic: Any = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in names)
    flat = Positional(model, signature.names)  # has one argument: all inputs
    with _quietly(), torch.no_grad():
        program = torch.export.export(flat, tuple(given), dynamic_shapes=(dynamic,), strict=False)
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(signature.names),
            output_names=[OUTPUT],
            dynamic_shapes=names,
            verbose=False,
        )
    assert exported is not None  # noqa: S101 -- as always with dynamo
    made = exported.model_proto
    _name_nodes(made.graph)
    _drop_notes(made)
    unwrap(made.graph)
    return made


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence notes on packages that are missing and on torch's own use of what it deprecated."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name nodes /LAYER/OPERATOR, by the layer of their weight if they have one: fused nodes are named by the other."""
    weights, taken = initializers(graph).keys(), Counter[str]()
    for node in graph.node:
        name = f"/{_layer(node, weights)}/{node.op_type}".replace("//", "/")
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name] - 1}"


def _layer(node: onnx.NodeProto, weights: Collection[str]) -> str:
    for name in node.input:
        if name in weights and name.endswith(".weight"):
            return str(name).removesuffix(".weight")
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
    layers: list[str] = [*ast.literal_eval(scopes)][:-1]  # the last one is the operation
    return layers[-1] if layers else ""


def _drop_notes(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes beside the graph: paths and lines of the user's code among it.

    The shapes between nodes go too: ONNX Runtime's quantizer transposes weights, and then refuses their former shapes.
    """
    graph = model.graph
    del graph.value_info[:]
    for entry in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]
        entry.doc_string = ""
