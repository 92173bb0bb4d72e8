"""Export by torch's older, tracing exporter (``dynamo=False``); it is deprecated, and says so in filtered warnings."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import nn
from torch.jit._trace import TracerWarning  # torch.jit has it too, but does not declare it

from overwinter.errors import ConfigError
from overwinter.inputs import INPUT
from overwinter.models import Positional
from overwinter.runtime.onnx_graph import rename_inputs, unwrap
from overwinter.signature import OUTPUT, Signature

_OPSET = 17
_OPERATOR = re.compile(r"\b\w+::\w+")
_SCOPE = "__module."


def export_trace(
    model: nn.Module, given: Sequence[torch.Tensor], signature: Signature, *, fold: bool = True
) -> onnx.ModelProto:
    """Return the graph of a module.

    Args:
        model: module in evaluation mode.
        given: example inputs, in the signature's order.
        signature: the model's; its axes that vary stay dynamic, unless the module computes with them outside of torch.
        fold: whether to compute constants.

    Raises:
        ConfigError: the module uses an operation that ONNX lacks; the message names the layer.
    """
    written = io.BytesIO()
    wrapped = signature.names != (INPUT,)
    flat = Positional(model, signature.names) if wrapped else model
    with _quietly():
        try:
            torch.onnx.export(
                flat,
                tuple(given),
                written,  # type: ignore[arg-type]  # the older exporter takes streams as well
                dynamo=False,
                opset_version=_OPSET,
                input_names=[_traced_name(name) for name in signature.names],
                output_names=[OUTPUT],
                dynamic_axes=_dynamic_axes(signature),
                do_constant_folding=fold,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            where = _layers_with(_OPERATOR.search(reason), flat, tuple(given))
            raise ConfigError(
                f"{type(model).__name__} cannot be exported to ONNX: {where}{reason}\n"
                "Remove onnxruntime and openvino from evaluate.runtimes and set quantize=none, or change the model."
            ) from error
    exported = onnx.load_from_string(written.getvalue())
    rename_inputs(exported.graph, {_traced_name(name): name for name in signature.names})
    if wrapped:
        unwrap(exported.graph)
    return exported


def _traced_name(name: str) -> str:
    """Return the name of an input while it is traced, which can't be a number."""
    return f"input.{name}" if name.isdigit() else name


def _dynamic_axes(signature: Signature) -> dict[str, dict[int, str]]:
    return {
        _traced_name(spec.name): {
            axis: "batch" if axis == 0 else f"{spec.name}_{axis}"
            for axis, side in enumerate(spec.shape)
            if side is None
        }
        for spec in (*signature.inputs, *signature.outputs)
    }


@contextmanager
def _quietly() -> Iterator[None]:
    shown = torch._C._jit_onnx_log
    # On failure it would print the whole graph, which cannot be switched off.
    torch._C._jit_onnx_log = lambda *_: None
    with warnings.catch_warnings():
        # The exporter's own deprecation, in torch from 2.9 on, and that of tracing.
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        # Of recurrent layers; outputs are compared at other batch sizes.
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1", UserWarning)
        # Padding other than by zeros; nothing is lost.
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        # Tracing may freeze a branch on a tensor: the outputs are compared afterwards, at another batch size.
        warnings.simplefilter("ignore", TracerWarning)
        try:
            yield
        finally:
            torch._C._jit_onnx_log = shown


def _layers_with(operator: re.Match[str] | None, model: nn.Module, example: tuple[torch.Tensor, ...]) -> str:
    """Return the names of the layers that use an operator; empty if unknown."""
    if operator is None:
        return ""
    trace: Any = torch.jit.trace  # torch has no types for it
    traced = trace(model, example, check_trace=False)
    nodes = [node for node in traced.inlined_graph.nodes() if node.kind() == operator.group()]
    scopes = [node.scopeName().rpartition("/")[2].removeprefix(_SCOPE) for node in nodes]
    layers = dict.fromkeys(f"layer {scope}" if scope else "its own forward()" for scope in scopes)
    return f"{', '.join(layers)}: " if layers else ""
