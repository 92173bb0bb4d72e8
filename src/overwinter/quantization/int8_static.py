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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Grid, write_description
from overwinter.quantization.checking import refuse_integer_settings, refuse_tokens, skipping_pattern
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.recipe import Recipe
from overwinter.runtime import INPUT, Array, export_onnx, float_weights, initializers, layer_of, tidy
from overwinter.runtime.saturation import products_saturate

_FORM = "int8_static"
_MODEL = "model.onnx"
_BATCH = 64
_SERVED = ("Conv", "Gemm", "MatMul")
_METHODS = {
    "entropy": CalibrationMethod.Entropy,
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}


class Int8Static:
    """Makes the form ``int8_static``: ``model.onnx`` and ``model.json``."""

    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="static")  # much the same, for its report

    def quantize(self, request: Request) -> QuantizationReport:
        """Export, calibrate and quantize; see `Quantizer`."""
        refuse_tokens(_FORM, request)
        refuse_integer_settings(_FORM, request)
        exported = export_onnx(request.model, request.description["input_shape"])
        layers = _weighted_layers(exported.graph)
        reasons = {layer.node: _reason_against(layer, request.settings.skip) for layer in layers}
        wanted = [layer for layer in layers if reasons[layer.node] is None]
        if not wanted:
            raise ConfigError(
                f"{_FORM} serves none of the model's layers: {_listed(layers, reasons)}. Set quantize=none."
            )
        excluded = [node for node, reason in reasons.items() if reason is not None]
        quantized = _quantized(exported, request, excluded)
        zeros_before, zeros_after = _check_zeros(exported.graph, quantized.graph, wanted)
        files.write_bytes(request.out / _MODEL, quantized.SerializeToString(deterministic=True))
        left = {layer.name: reason for layer in layers if (reason := reasons[layer.node]) is not None}
        _describe(request, quantized.graph, [layer.name for layer in wanted], left)
        return QuantizationReport(
            quantized=tuple(layer.name for layer in wanted),
            left_in_float=left,
            zeros_before=zeros_before,
            zeros_after=zeros_after,
            size_bytes=(request.out / _MODEL).stat().st_size,
            float_size_bytes=sum(entry["size_bytes"] for entry in request.description["files"].values()),
        )


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A node of the exported graph that has a weight."""

    name: str
    node: str
    operator: str
    weight: str


def _weighted_layers(graph: onnx.GraphProto) -> list[_Layer]:
    weights = float_weights(graph)
    return [
        _Layer(name=layer_of(node.name) or name, node=node.name, operator=node.op_type, weight=name)
        for node in graph.node
        for name in node.input
        if name in weights
    ]


def _reason_against(layer: _Layer, skip: Sequence[str]) -> str | None:
    pattern = skipping_pattern(layer.name, skip)
    if pattern is not None:
        return f"quantize.skip names {pattern!r}"
    if layer.operator not in _SERVED:
        return f"{_FORM} serves {', '.join(_SERVED)}, not {layer.operator}"
    return None


def _listed(layers: Sequence[_Layer], reasons: Mapping[str, str | None]) -> str:
    return "; ".join(f"{layer.name}: {reasons[layer.node]}" for layer in layers) or "none of them has a weight"


def _quantized(exported: onnx.ModelProto, request: Request, excluded: Sequence[str]) -> onnx.ModelProto:
    source = onnx.ModelProto()
    source.CopyFrom(exported)
    # Batch normalisation is folded and constants are tidy: there is nothing left to prepare.
    add_pre_process_metadata(source)
    # The histogram calibrators print their settings.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        target = Path(folder) / _MODEL
        quantize_static(
            source,
            target,
            _Reader(request.calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=products_saturate(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(excluded),
            calibrate_method=_METHODS[request.settings.calibration_method],
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
        return tidy(onnx.load(target))


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Feeds calibration samples (n, ...) in batches of one size, as the histogram calibrators want them."""

    def __init__(self, calibration: Array) -> None:
        size = math.gcd(len(calibration), _BATCH)
        self._batches: Iterator[Array] = iter(np.split(calibration, len(calibration) // size))

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _check_zeros(before: onnx.GraphProto, after: onnx.GraphProto, layers: Sequence[_Layer]) -> tuple[int, int]:
    """Count zero weights before and after, and refuse if one was lost."""
    floats, integers = initializers(before), initializers(after)
    counts = [0, 0]
    for layer in layers:
        was_zero = floats[layer.weight] == 0
        quantized = integers.get(f"{layer.weight}_quantized")
        if quantized is None:
            raise OverwinterError(
                f"ONNX Runtime left the layer {layer.name} in floating point without a reason. Add it to quantize.skip."
            )
        is_zero = quantized == 0
        if integers[f"{layer.weight}_zero_point"].any() or not is_zero[was_zero].all():
            raise OverwinterError(
                f"Quantizing turned zero weights of the layer {layer.name} into others. Add it to quantize.skip."
            )
        counts[0] += int(was_zero.sum())
        counts[1] += int(is_zero.sum())
    return counts[0], counts[1]


def _describe(request: Request, graph: onnx.GraphProto, quantized: list[str], left: Mapping[str, str]) -> None:
    constants = {name: value for name, value in initializers(graph).items() if value.ndim >= 1}
    weights = [value for value in constants.values() if value.ndim >= 2]
    nonzero = sum(int(np.count_nonzero(value)) for value in weights)
    write_description(
        request.out,
        form=_FORM,
        model_config=request.description["model"],
        input_shape=request.description["input_shape"],
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
        lineage=request.lineage,
        quantization={
            "method": _FORM,
            "weights": "int8 symmetric per output channel",
            "activations": "uint8 calibrated",
            "calibration_samples": len(request.calibration),
            "calibration_method": request.settings.calibration_method,
            "reduce_range": products_saturate(),
            "quantized": quantized,
            "left_in_float": dict(left),
        },
    )
