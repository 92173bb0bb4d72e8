"""Static int8: weights per output channel and symmetric, activations unsigned by calibrated ranges, as QDQ.

The graph stays in floating point on paper; each tensor passes a QuantizeLinear/DequantizeLinear pair, from
which ONNX Runtime builds integer kernels
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Unsigned activations against
signed weights are what its kernels take. On x86 without VNNI their sums saturate in 16 bits, so weights get 7
bits there (``reduce_range``).
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (  # type: ignore[import-untyped]  # has no types
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import (  # type: ignore[import-untyped]  # has no types
    add_pre_process_metadata,
)

from overwinter import files
from overwinter.calibration.batches import count_samples, split_batches
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import Inputs, count, named
from overwinter.models import Grid, signature_of, stored_bytes, write_description
from overwinter.quantization.checking import refuse_integer_settings, refuse_language
from overwinter.quantization.frame import choose_layers, count_zeros, origin
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.onnx_outliers import Split, split_outliers
from overwinter.quantization.recipe import Recipe
from overwinter.runtime import Array, export_onnx, float_weights, initializers, layer_of, tidy
from overwinter.runtime.saturation import products_saturate

_VARIANT = "int8_static"
_MODEL = "model.onnx"
_BATCH = 64
_SERVED = ("Conv", "Gemm", "MatMul")
_METHODS = {
    "entropy": CalibrationMethod.Entropy,
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}


class Int8Static:
    """Makes the variant ``int8_static``: ``model.onnx`` and ``model.json``."""

    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="static")  # much the same, for its report

    def quantize(self, request: Request) -> QuantizationReport:
        """Export, calibrate and quantize; see `Quantizer`."""
        refuse_language(_VARIANT, request)
        refuse_integer_settings(_VARIANT, request)
        exported = export_onnx(request.model, request.calibration[0], signature_of(request.description))
        nodes = _weighted_nodes(exported.graph)
        wanted, left = choose_layers(_VARIANT, {node.layer: _unfit(node) for node in nodes}, request.settings.skip)
        served = [node.name for node in nodes if node.layer not in left]
        excluded = [node.name for node in nodes if node.layer in left]
        excluded += [*_attention(exported.graph, nodes), *_outside(exported.graph, served)]
        split = _split(exported, request, served)
        quantized = _quantized_or_refused(split, request, [*excluded, *split.added])
        untouched = _untouched(quantized.graph, [node for node in nodes if node.layer in wanted])
        wanted, left = choose_layers(
            _VARIANT, {node.layer: left.get(node.layer) or untouched.get(node.layer) for node in nodes}, []
        )
        zeros_before, zeros_after = count_zeros(
            _zeros(exported.graph, quantized.graph, [node for node in nodes if node.layer in wanted])
        )
        files.write_bytes(request.out / _MODEL, quantized.SerializeToString(deterministic=True))
        taken_out = {node.layer: split.channels[node.name] for node in nodes if node.name in split.channels}
        saved = _describe(request, quantized.graph, wanted, left, taken_out)
        return QuantizationReport(
            quantized=tuple(wanted),
            left_in_float=left,
            zeros_before=zeros_before,
            zeros_after=zeros_after,
            size_bytes=stored_bytes(saved),
            float_size_bytes=stored_bytes(request.description),
        )


@dataclass(frozen=True, kw_only=True)
class _Node:
    """A node of the exported graph that has a weight."""

    layer: str
    name: str
    operator: str
    weight: str


def _weighted_nodes(graph: onnx.GraphProto) -> list[_Node]:
    weights = float_weights(graph)
    return [
        _Node(layer=layer_of(node.name) or name, name=node.name, operator=node.op_type, weight=name)
        for node in graph.node
        for name in node.input
        if name in weights
    ]


def _attention(graph: onnx.GraphProto, nodes: Sequence[_Node]) -> list[str]:
    """Return the products of activations: 8 bits for both sides cost quality, and they take little of the time."""
    weighted = {node.name for node in nodes}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.name not in weighted]


def _is_transformer(graph: onnx.GraphProto) -> bool:
    """Return whether the graph returns to floating point at every layer normalisation.

    Then only its products are worth quantizing: otherwise all operators are, so that integers pass from one
    convolution to the next. What a product returns stays in floating point too, since a sum follows: rounding it to 8
    bits as well cost a third of MiniLM's decisions, and no time was saved.
    """
    return any(node.op_type == "LayerNormalization" for node in graph.node)


def _split(exported: onnx.ModelProto, request: Request, served: Sequence[str]) -> Split:
    """Take out the outlier channels of a transformer, whose ranges are otherwise the calibrator's."""
    if not _is_transformer(exported.graph) or request.settings.calibration_method != "minmax":
        return Split(model=exported, ranges={}, channels={}, added=())
    return split_outliers(exported, served, _reader(exported.graph, request))


def _placing(split: Split) -> dict[str, Any]:
    """Return the arguments of ONNX Runtime's tool that say what is quantized, and by which ranges."""
    options: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": False}
    if not _is_transformer(split.model.graph):
        return {"op_types_to_quantize": None, "extra_options": options}
    options["OpTypesToExcludeOutputQuantization"] = ["MatMul", "Gemm"]
    options["TensorQuantOverrides"] = {
        name: [{"quant_type": QuantType.QUInt8, "rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in split.ranges.items()
    }
    return {"op_types_to_quantize": list(_SERVED), "extra_options": options}


def _unfit(node: _Node) -> str | None:
    return None if node.operator in _SERVED else f"{_VARIANT} serves {', '.join(_SERVED)}, not {node.operator}"


def _quantized_or_refused(split: Split, request: Request, excluded: Sequence[str]) -> onnx.ModelProto:
    try:
        return _quantized(split, request, excluded)
    except OverwinterError:
        raise
    except Exception as error:  # whatever ONNX Runtime's tool raises is its refusal
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"ONNX Runtime cannot quantize the exported graph: {reason}\n"
            f"Take {_VARIANT} out of quantize.methods, or take int8_smooth instead."
        ) from error


def _outside(graph: onnx.GraphProto, layers: Collection[str]) -> list[str]:
    """Return the names of nodes that are not between two of ``layers``: arithmetic on the inputs and the outputs.

    Eight bits are enough for what layers pass to each other, not for a sum of a level and a small difference.
    """
    after: set[str] = set()  # tensors that come from a layer
    before: set[str] = set()  # tensors that lead to one
    for node in graph.node:  # each after those that it reads
        if node.name in layers or not after.isdisjoint(node.input):
            after.update(node.output)
    for node in reversed(graph.node):
        if node.name in layers or not before.isdisjoint(node.output):
            before.update(node.input)
    return [
        node.name
        for node in graph.node
        if node.name not in layers and (after.isdisjoint(node.input) or before.isdisjoint(node.output))
    ]


def _quantized(split: Split, request: Request, excluded: Sequence[str]) -> onnx.ModelProto:
    source = onnx.ModelProto()
    source.CopyFrom(split.model)
    # Batch normalisation is folded and constants are tidy: there is nothing left to prepare.
    add_pre_process_metadata(source)
    # The histogram calibrators print their settings.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        target = Path(folder) / _MODEL
        quantize_static(
            source,
            target,
            _reader(split.model.graph, request),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=products_saturate(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(excluded),
            calibrate_method=_METHODS[request.settings.calibration_method],
            **_placing(split),
        )
        return tidy(onnx.load(target))


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Feeds batches, the inputs that the graph has of them."""

    def __init__(self, batches: Iterable[Inputs], names: Collection[str]) -> None:
        self._batches, self._names = iter(batches), names

    def get_next(self) -> dict[str, Array] | None:
        return next(self, None)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return self

    def __next__(self) -> dict[str, Array]:
        return {name: each for name, each in named(next(self._batches)).items() if name in self._names}


def _reader(graph: onnx.GraphProto, request: Request) -> _Reader:
    """Return the calibration samples in batches of one size, as the histogram calibrators want them."""
    shapes = {tuple(each.shape[1:] for each in named(batch).values()) for batch in request.calibration}
    method = request.settings.calibration_method
    if len(shapes) > 1 and method != "minmax":
        raise ConfigError(
            f"quantize.calibration_method={method} takes samples of one length, and these have {len(shapes)}. "
            "Set it to minmax."
        )
    size = math.gcd(_BATCH, *map(count, request.calibration))
    # An input that the model does not use is no input of the graph.
    return _Reader(split_batches(request.calibration, size), [each.name for each in graph.input])


def _untouched(graph: onnx.GraphProto, nodes: Sequence[_Node]) -> dict[str, str]:
    """Return the layers that ONNX Runtime left as they were, with the reason."""
    integers = initializers(graph)
    return {
        node.layer: "ONNX Runtime quantizes no weight at that place"
        for node in nodes
        if f"{node.weight}_quantized" not in integers
    }


def _zeros(
    before: onnx.GraphProto, after: onnx.GraphProto, nodes: Sequence[_Node]
) -> Iterator[tuple[str, Array, Array]]:
    """Yield each layer with where its weight was zero and where it is, both (out, in, ...) or (in, out)."""
    floats, integers = initializers(before), initializers(after)
    for node in nodes:
        quantized = integers[f"{node.weight}_quantized"]
        symmetric = not integers[f"{node.weight}_zero_point"].any()  # else code 0 stands for another number
        yield node.layer, floats[node.weight] == 0, (quantized == 0) & symmetric


def _describe(
    request: Request,
    graph: onnx.GraphProto,
    quantized: list[str],
    left: Mapping[str, str],
    taken_out: Mapping[str, int],
) -> dict[str, Any]:
    constants = {name: value for name, value in initializers(graph).items() if value.ndim >= 1}
    weights = [value for value in constants.values() if value.ndim >= 2]
    nonzero = sum(int(np.count_nonzero(value)) for value in weights)
    return write_description(
        request.out,
        parameters=request.description["parameters"],
        sparsity=1.0 - nonzero / max(1, sum(value.size for value in weights)),
        tensors={
            name: {
                "shape": list(value.shape),
                "dtype": str(value.dtype),
                "nonzero": int(np.count_nonzero(value)),
            }
            for name, value in sorted(constants.items())
        },
        files=[_MODEL],
        **origin(_VARIANT, request),
        quantization={
            "method": _VARIANT,
            "weights": "int8 symmetric per output channel",
            "activations": "uint8 calibrated",
            "calibration_samples": count_samples(request.calibration),
            "calibration_method": request.settings.calibration_method,
            "reduce_range": products_saturate(),
            "quantized": quantized,
            "left_in_float": dict(left),
            "outlier_channels": dict(taken_out),
        },
    )
