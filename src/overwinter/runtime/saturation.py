"""Where products of 8-bit integers saturate: on x86 without VNNI, whose sums of two of them have 16 bits.

ONNX Runtime's kernels take unsigned activations times signed weights there anyway, and lose what is beyond
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Unsigned weights are multiplied by
kernels that do not. `unsign_weights` makes them so in a graph; the same values, in somewhat more time.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx

from overwinter.runtime.onnx_graph import initializers
from overwinter.runtime.session import Array

_SHIFT = 128


def needs_reduced_range(machine: str, cpu_flags: str) -> bool:
    """Return whether unsigned activations times signed 8-bit weights would saturate: on x86 without VNNI.

    Args:
        machine: as `platform.machine` says it.
        cpu_flags: the text of /proc/cpuinfo.
    """
    is_x86 = machine.lower() in ("x86_64", "amd64", "i686")
    return is_x86 and not ("avx512_vnni" in cpu_flags or "avx_vnni" in cpu_flags)


def products_saturate() -> bool:
    """Return `needs_reduced_range` of this machine."""
    try:
        cpu_flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpu_flags = ""
    return needs_reduced_range(platform.machine(), cpu_flags)


def unsign_weights(graph: onnx.GraphProto) -> None:
    """Write signed 8-bit weights as unsigned ones that are 128 larger, as are their zero points."""
    constants = initializers(graph)
    shifted: set[str] = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 2 and _is_signed(constants, node.input[0]):
            shifted.add(node.input[0])
            node.input.append(_zero_point(graph, node.input[0], constants[node.input[1]]))
        if node.op_type == "MatMulInteger" and _is_signed(constants, node.input[1]):
            shifted |= {node.input[1], node.input[3]}
    for constant in graph.initializer:
        if constant.name in shifted:
            unsigned = (constants[constant.name].astype(np.int16) + _SHIFT).astype(np.uint8)
            constant.CopyFrom(onnx.numpy_helper.from_array(unsigned, constant.name))


def _is_signed(constants: dict[str, Array], name: str) -> bool:
    return name in constants and constants[name].dtype == np.int8


def _zero_point(graph: onnx.GraphProto, codes: str, scale: Array) -> str:
    """Add the zero point of signed codes that had none: 0, as it is written now."""
    name = f"{codes}_zero_point"
    if all(constant.name != name for constant in graph.initializer):
        graph.initializer.append(onnx.numpy_helper.from_array(np.full(scale.shape, _SHIFT, np.uint8), name))
    return name
