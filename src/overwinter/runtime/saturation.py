"""Saturation of 8-bit integer products on x86 without VNNI, where the sum of two products has 16 bits.

ONNX Runtime's kernels for unsigned activations and signed weights saturate there
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html); those for unsigned weights do not.
`unsign_weights` converts the weights of a graph: the same values, at the cost of some time.
"""

from __future__ import annotations

import platform

import numpy as np
import onnx

from overwinter.runtime.cpu import cpu_flags
from overwinter.runtime.onnx_graph import initializers
from overwinter.runtime.session import Array

_SHIFT = 128


def needs_reduced_range(machine: str, flags: str) -> bool:
    """Return whether unsigned activations times signed 8-bit weights would saturate: on x86 without VNNI.

    Args:
        machine: value of `platform.machine`.
        flags: content of /proc/cpuinfo.
    """
    is_x86 = machine.lower() in ("x86_64", "amd64", "i686")
    return is_x86 and not ("avx512_vnni" in flags or "avx_vnni" in flags)


def products_saturate() -> bool:
    """Return `needs_reduced_range` for this machine."""
    return needs_reduced_range(platform.machine(), cpu_flags())


def unsign_weights(graph: onnx.GraphProto) -> None:
    """Convert signed 8-bit weights to unsigned ones, with weights and zero points shifted by 128."""
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
    """Add a zero point for signed codes without one: 0, shifted like the codes; return its name."""
    name = f"{codes}_zero_point"
    if all(constant.name != name for constant in graph.initializer):
        graph.initializer.append(onnx.numpy_helper.from_array(np.full(scale.shape, _SHIFT, np.uint8), name))
    return name
