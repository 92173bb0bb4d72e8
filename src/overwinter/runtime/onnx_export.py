"""Export of a torch module to an ONNX graph: axes that vary stay dynamic, batch normalisation is folded.

Torch has two exporters, and what either exports is compared with torch's outputs, so that one makes up for the other:

- The one that it maintains (`onnx_program`) is first where a length varies.
- The older, tracing one (`onnx_trace`) is first where only the batch does. Its graphs are as fast there (on the default
  network within 2 % at batch 64), and it takes 0.2 s of CPU time for what takes the other 8 s.
- Stand-ins of integer layers are for the older one only, whose autograd functions write operators of their own; the
  other one would trace into them and export the float product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx
from torch import nn

from overwinter.errors import ConfigError
from overwinter.inputs import Inputs, named, to_tensors
from overwinter.runtime.examples import traced_inputs
from overwinter.runtime.onnx_folding import fold_normalisations
from overwinter.runtime.onnx_graph import tidy
from overwinter.runtime.onnx_program import export_program
from overwinter.runtime.onnx_trace import export_trace
from overwinter.runtime.saturation import products_saturate, unsign_weights
from overwinter.signature import Signature


def export_onnx(model: nn.Module, examples: Inputs, signature: Signature, *, integers: bool = False) -> onnx.ModelProto:
    """Export a module in evaluation mode; inputs and output keep their names, and axes that vary stay dynamic.

    Args:
        model: module from inputs (batch, ...) to one output (batch, ...).
        examples: samples of the data (n, ...), with which the module is traced.
        signature: the model's.
        integers: whether it has stand-ins of integer layers (`onnx_integer`), whose codes must not be folded.

    Raises:
        ConfigError: the module uses an operation that ONNX lacks; the message names the layer.
    """
    return next(exports(model, examples, signature, integers=integers))


def exports(
    model: nn.Module, examples: Inputs, signature: Signature, *, integers: bool = False
) -> Iterator[onnx.ModelProto]:
    """Yield the graph by each exporter that can export the module; arguments and errors are those of `export_onnx`."""
    example = named(to_tensors(traced_inputs(examples)))
    given = tuple(example[name] for name in signature.names)
    if integers:
        yield _with_codes(export_trace(model, given, signature, fold=False))
        return
    refused: list[Exception] = []
    exporters: list[Callable[..., onnx.ModelProto]] = [export_trace, export_program]
    for exporter in reversed(exporters) if _length_varies(signature) else exporters:
        try:
            exported = exporter(model, given, signature)
        except Exception as error:  # noqa: BLE001 -- torch.export's share no base class
            refused.append(error)
        else:
            yield tidy(exported)
    if len(refused) == len(exporters):
        # The older one's reason names the layer.
        raise next((error for error in refused if isinstance(error, ConfigError)), _unexpected(model, refused[0]))


def _length_varies(signature: Signature) -> bool:
    return any(None in spec.shape[1:] for spec in signature.inputs)


def _with_codes(exported: onnx.ModelProto) -> onnx.ModelProto:
    fold_normalisations(exported.graph)
    if products_saturate():
        unsign_weights(exported.graph)
    return tidy(exported)


def _unexpected(model: nn.Module, error: Exception) -> ConfigError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(
        f"{type(model).__name__} cannot be exported to ONNX: {reason}\n"
        "Remove onnxruntime and openvino from evaluate.runtimes and set quantize=none, or change the model."
    )
