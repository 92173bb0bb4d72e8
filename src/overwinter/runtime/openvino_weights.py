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


def float_weight(values: Array, *, half: bool) -> Any:
    """Return a node with a tensor's values, float32, stored as float16 or as they are."""
    if not half:
        return opset.constant(values.astype(np.float32))
    return opset.convert(opset.constant(_halved(values)), "f32")


def _symmetric(codes: Array, scale: Array, size: int, bits: int) -> Any:
    """Signed codes need no zero point."""
    signed = codes.astype(np.int16) - (1 << (bits - 1))
    if bits <= 4:
        return _scaled(_packed((signed & 15).astype(np.uint8), (*scale.shape, size), Type.i4), scale)
    return _scaled(opset.constant(signed.astype(np.int8).reshape(*scale.shape, size)), scale)


def _scaled(codes: Any, scale: Array, zero: Any | None = None) -> Any:
    """Return codes (out, groups, size) times scale (out, groups) as (out, in), float32."""
    values = opset.convert(codes, "f16")
    if zero is not None:
        values = opset.subtract(values, opset.convert(zero, "f16"))
    values = opset.multiply(values, opset.constant(_halved(scale[:, :, None])))
    rows, groups, size = (int(each) for each in codes.get_output_shape(0))
    return opset.convert(opset.reshape(values, np.array([rows, groups * size]), special_zero=False), "f32")


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
