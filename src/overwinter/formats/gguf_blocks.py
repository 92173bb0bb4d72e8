"""Integer layers as GGUF's blocks of 32 columns.

Q4_0 holds ``(code - 8) * scale``, Q8_0 ``code * scale`` with signed codes, Q4_1 and Q5_1 ``code * scale + minimum``;
scales and minima are float16. So codes are kept, and a symmetric grid is exact where its scales are float16 values.
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from overwinter.errors import ConfigError
from overwinter.inputs import Array
from overwinter.models import IntegerLayer

BLOCK = 32  # columns
_MIDDLE_4, _HALF = 8, 16  # Q4_0's zero point; columns 0 to 15 of a block are in the lower halves of its bytes


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """A matrix in blocks.

    Attributes:
        kind: GGUF's name of the type, such as ``Q4_1``.
        content: (out, bytes of a row), uint8.
    """

    kind: str
    content: Array


def block_type(bits: int, group_size: int | None, *, symmetric: bool, columns: int) -> str | None:
    """Return the type that holds the codes of a grid unchanged; None if there is none."""
    if columns % BLOCK or (group_size is not None and group_size % BLOCK):
        return None
    if symmetric:
        return "Q4_0" if bits <= 4 else "Q8_0"
    return {5: "Q5_1"}.get(bits, "Q4_1" if bits <= 4 else None)


def to_blocks(layer: IntegerLayer, rows: Array) -> Blocks | None:
    """Return a layer's weight in blocks, its rows in another order; None if GGUF has none for its grid.

    Args:
        layer: layer without factors of its input.
        rows: (out,) for each row of the result that of the layer.

    Raises:
        ConfigError: a scale or a minimum is too large for float16.
    """
    grid = layer.grid
    kind = block_type(grid.bits, grid.group_size, symmetric=grid.symmetric, columns=layer.columns)
    if kind is None or layer.smoothing is not None:
        return None
    held = layer.get_codes()
    codes = held.codes.cpu().numpy()[rows].astype(np.int16)  # (out, columns)
    scale = _per_block(held.scale.float().cpu().numpy()[rows], layer.columns, grid.group_size)  # (out, blocks)
    if held.zero is None:
        signed = codes - grid.middle
        content = _with_4_bits(signed + _MIDDLE_4, scale) if kind == "Q4_0" else _with_8_bits(signed, scale)
    else:
        zero = _per_block(held.zero.cpu().numpy()[rows].astype(np.float32), layer.columns, grid.group_size)
        half = _half(scale).astype(np.float32)  # as it will be read, so that code == zero gives 0
        content = _with_4_bits(codes & 15, scale, -zero * half, upper=codes >> 4 if kind == "Q5_1" else None)
    return Blocks(kind=kind, content=content)


def _per_block(values: Array, columns: int, group_size: int | None) -> Array:
    """Return one value per group (out, groups) as one per block (out, blocks)."""
    repeats = (columns if group_size is None else group_size) // BLOCK
    return np.repeat(values, repeats, axis=1)[:, : columns // BLOCK]


def _with_4_bits(codes: Array, scale: Array, minimum: Array | None = None, *, upper: Array | None = None) -> Array:
    """Return Q4_0, with minima Q4_1, with fifth bits too Q5_1."""
    grouped = codes.astype(np.uint8).reshape(*scale.shape, BLOCK)  # (out, blocks, 32)
    packed = grouped[..., :_HALF] | grouped[..., _HALF:] << 4
    fifths = [] if upper is None else [_bits(upper, scale)]
    floats = [scale] if minimum is None else [scale, minimum]
    parts = [*(_half(each).view(np.uint8).reshape(*scale.shape, 2) for each in floats), *fifths, packed]
    return np.concatenate(parts, axis=-1).reshape(len(codes), -1)


def _with_8_bits(codes: Array, scale: Array) -> Array:
    grouped = codes.astype(np.int8).view(np.uint8).reshape(*scale.shape, BLOCK)
    parts = [_half(scale).view(np.uint8).reshape(*scale.shape, 2), grouped]
    return np.concatenate(parts, axis=-1).reshape(len(codes), -1)


def _bits(upper: Array, scale: Array) -> Array:
    return np.packbits(upper.astype(np.uint8).reshape(*scale.shape, BLOCK), axis=-1, bitorder="little")


def _half(values: Array) -> Array:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(values.astype(np.float16))
    if not np.isfinite(half).all():
        raise ConfigError(f"A scale of {np.abs(values).max():g} is too large for GGUF's float16.")
    return half
