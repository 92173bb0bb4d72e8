"""Weights in an OpenVINO graph: integers that its kernels multiply with as they lie there, or floats.

A matrix (out, in) of integers is ``(code - zero) * scale`` by groups of inputs, as OpenVINO's own compressed weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from openvino import Tensor, Type
from openvino import opset13 as opset

from overwinter.errors import ConfigError
from overwinter.inputs import Array
from overwinter.models import IntegerLayer
from overwinter.models.gguf_blocks import GgufMatrix


def integer_weight(layer: IntegerLayer) -> Any:
    """Return a node (out, in), float32, with a layer's codes, scales and zero points.

    Raises:
        ConfigError: a scale is no float16 value and too large for one.
    """
    grid, held = layer.grid, layer.get_codes()
    size = _group(layer.columns, grid.group_size)
    repeats = (layer.columns if grid.group_size is None else grid.group_size) // size
    groups = layer.columns // size
    scale = np.repeat(held.scale.float().cpu().numpy(), repeats, axis=1)[:, :groups]
    codes = held.codes.cpu().numpy()
    if held.zero is None:
        return _symmetric(codes, scale, size, grid.bits)
    zero = np.repeat(held.zero.cpu().numpy(), repeats, axis=1)[:, :groups]
    return _scaled(_unsigned(codes, size, grid.bits), scale, _unsigned(zero, 1, grid.bits))


def given_weight(matrix: GgufMatrix) -> Any:
    """Return a node (out, in), float32, with a GGUF matrix's own codes and scales, and its minima as zero points.

    A format with a middle code has a whole zero point, the others one in float16, which its kernels take about a
    quarter more time for. Scales that are no float16 values, as the K formats have them, are kept in float32.
    """
    scale, size = matrix.scale, matrix.group_size
    if matrix.symmetric:
        return _symmetric(matrix.codes, scale, size, matrix.bits, kind=_kind(scale))
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -matrix.minimum / scale
    # A group of one value: the code's part would be nothing beside the minimum, or 0 * infinity.
    flat = ~(np.abs(zero) < np.finfo(np.float16).max)
    one = np.where(matrix.minimum == 0, np.float32(1), np.abs(matrix.minimum))
    scale = np.where(flat, one, scale)
    zero = np.where(flat, -matrix.minimum / one, zero)
    codes = np.where(np.repeat(flat, size, axis=1), np.uint8(0), matrix.codes)
    kind = _kind(scale)
    return _scaled(_unsigned(codes, size, matrix.bits), scale, opset.constant(zero.astype(kind)[:, :, None]), kind=kind)


def float_weight(values: Array, *, half: bool) -> Any:
    """Return a node with a tensor's values, float32, stored as float16 or as they are."""
    if not half:
        return opset.constant(values.astype(np.float32))
    return opset.convert(opset.constant(_halved(values)), "f32")


def _symmetric(codes: Array, scale: Array, size: int, bits: int, *, kind: Any = np.float16) -> Any:
    """Signed codes need no zero point."""
    signed = codes.astype(np.int16) - (1 << (bits - 1))
    if bits <= 4:
        return _scaled(_packed((signed & 15).astype(np.uint8), (*scale.shape, size), Type.i4), scale, kind=kind)
    return _scaled(opset.constant(signed.astype(np.int8).reshape(*scale.shape, size)), scale, kind=kind)


def _kind(scale: Array) -> Any:
    """Return the smallest type that holds scales exactly."""
    with np.errstate(over="ignore"):
        return np.float16 if (scale.astype(np.float16) == scale).all() else np.float32


def _scaled(codes: Any, scale: Array, zero: Any | None = None, *, kind: Any = np.float16) -> Any:
    """Return codes (out, groups, size) times scale (out, groups) as (out, in), float32; computed in a type."""
    name = {np.float16: "f16", np.float32: "f32"}[kind]

    def converted(node: Any) -> Any:
        return node if node.get_output_element_type(0).to_string() == name else opset.convert(node, name)

    values = converted(codes)
    if zero is not None:
        values = opset.subtract(values, converted(zero))
    held = _halved(scale) if kind is np.float16 else scale.astype(kind)
    values = opset.multiply(values, opset.constant(held[:, :, None]))
    rows, groups, size = (int(each) for each in codes.get_output_shape(0))
    whole = opset.reshape(values, np.array([rows, groups * size]), special_zero=False)
    return whole if kind is np.float32 else opset.convert(whole, "f32")


def _unsigned(codes: Array, size: int, bits: int) -> Any:
    """Return codes (out, in) as (out, groups, size)."""
    shape = (codes.shape[0], codes.shape[1] // size, size)
    if bits <= 4:
        return _packed(codes, shape, Type.u4)
    return opset.constant(codes.reshape(shape))


def _packed(codes: Array, shape: tuple[int, ...], kind: Any) -> Any:
    """Return codes of 4 bits as a constant, two in a byte, the earlier in the lower half."""
    flat = codes.ravel()
    even = np.pad(flat, (0, flat.size % 2))
    packed = Tensor(kind, list(shape))  # its own memory: one made of an array would borrow the array's
    packed.data.ravel()[:] = even[0::2] | even[1::2] << 4
    return opset.constant(packed)


def _group(columns: int, group_size: int | None) -> int:
    """Return a size of group that divides the columns: the grid's, unless its last group is shorter."""
    return columns if group_size is None else math.gcd(columns, group_size)


def _halved(values: Array) -> Array:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ConfigError(f"{np.abs(values).max():g} is too large for OpenVINO's float16 scales and weights.")
    return half
