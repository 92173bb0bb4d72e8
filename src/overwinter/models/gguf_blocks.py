"""Integers in the blocks of a GGUF file's tensors, exactly as they lie there, with their scales and minima.

The layouts are those of the structs in ggml: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from overwinter.inputs import Array

_MANY = 256  # weights of a block of the K formats
_HALVES = np.array([0, 4], dtype=np.uint8)[:, None]
_QUARTERS = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]


@dataclass(frozen=True, kw_only=True)
class GgufMatrix:
    """A matrix of integers; its value is ``code * scale + minimum``. In Q4_0, Q5_0 and Q6_K a scale may be negative.

    Attributes:
        codes: (out, in) uint8.
        scale: (out, groups) float32.
        minimum: (out, groups) float32: the value of code 0.
        group_size: inputs that share a scale and a minimum.
        bits: of a code.
        kind: the format, such as ``Q4_1``.
    """

    codes: Array
    scale: Array
    minimum: Array
    group_size: int
    bits: int
    kind: str

    @property
    def symmetric(self) -> bool:
        """Whether code ``2 ** (bits - 1)`` stands for 0 in every group."""
        return FORMATS[self.kind].symmetric

    def dequantize(self) -> Array:
        """Return the values (out, in), float32."""
        codes = self.codes.reshape(*self.scale.shape, self.group_size)
        values: Array = codes * self.scale[..., None] + self.minimum[..., None]
        return values.reshape(self.codes.shape)


class _Parts(NamedTuple):
    """What the blocks (n, bytes) of a tensor hold: codes (n, weights), and scale and minimum (n, groups of a block)."""

    codes: Array
    scale: Array
    minimum: Array


class Format(NamedTuple):
    """A format of blocks: the bits of a code, the weights that share a scale, and how a block is taken apart."""

    bits: int
    group_size: int
    symmetric: bool
    take_apart: Callable[[Array], _Parts]


def take_apart(data: Array, kind: str) -> GgufMatrix:
    """Return the integers of a tensor's bytes (out, bytes of a row), of a format in `FORMATS`."""
    import gguf

    form, rows = FORMATS[kind], data.shape[0]
    _, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    codes, scale, minimum = form.take_apart(np.ascontiguousarray(data).reshape(-1, block_bytes))
    return GgufMatrix(
        codes=codes.reshape(rows, -1),
        scale=scale.reshape(rows, -1),
        minimum=minimum.reshape(rows, -1),
        group_size=form.group_size,
        bits=form.bits,
        kind=kind,
    )


def _q4_0(blocks: Array) -> _Parts:
    return _centred(_nibbles(blocks[:, 2:]), _half(blocks[:, :2]), bits=4)


def _q4_1(blocks: Array) -> _Parts:
    return _Parts(_nibbles(blocks[:, 4:]), _half(blocks[:, :2]), _half(blocks[:, 2:4]))


def _q5_0(blocks: Array) -> _Parts:
    return _centred(_nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6]), _half(blocks[:, :2]), bits=5)


def _q5_1(blocks: Array) -> _Parts:
    codes = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return _Parts(codes, _half(blocks[:, :2]), _half(blocks[:, 2:4]))


def _q8_0(blocks: Array) -> _Parts:
    codes = blocks[:, 2:] ^ np.uint8(0x80)  # int8 to uint8: 128 more
    return _centred(codes, _half(blocks[:, :2]), bits=8)


def _q4_k(blocks: Array) -> _Parts:
    return _Parts(_nibbles(blocks[:, 16:], run=32), *_scales_and_minima(blocks))


def _q5_k(blocks: Array) -> _Parts:
    places = np.arange(8, dtype=np.uint8)[:, None]
    high = (blocks[:, 16:48, None].swapaxes(1, 2) >> places) & np.uint8(1)  # (n, 8, 32)
    codes = _nibbles(blocks[:, 48:], run=32) | high.reshape(-1, _MANY) << np.uint8(4)
    return _Parts(codes, *_scales_and_minima(blocks))


def _q6_k(blocks: Array) -> _Parts:
    low = _nibbles(blocks[:, :128], run=64)
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> _QUARTERS) & np.uint8(3)
    scale = _half(blocks[:, 208:]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return _centred(low | high.reshape(-1, _MANY) << np.uint8(4), scale, bits=6)


def _scales_and_minima(blocks: Array) -> tuple[Array, Array]:
    """Return (n, 8) each: 6 bits times a float16; of the last four, two bits lie with the first four."""
    first, second, rest = np.split(blocks[:, 4:16], 3, axis=1)  # (n, 4) each
    scale = np.concatenate([first & 0x3F, (rest & 0x0F) | ((first >> 2) & 0x30)], axis=1)
    minimum = np.concatenate([second & 0x3F, (rest >> 4) | ((second >> 2) & 0x30)], axis=1)
    return _half(blocks[:, :2]) * scale.astype(np.float32), _half(blocks[:, 2:4]) * -minimum.astype(np.float32)


def _centred(codes: Array, scale: Array, *, bits: int) -> _Parts:
    return _Parts(codes, scale, scale * np.float32(-(2 ** (bits - 1))))


def _nibbles(packed: Array, *, run: int | None = None) -> Array:
    """Unpack two codes a byte: of each ``run`` of bytes first all lower halves, then all upper ones."""
    runs = packed.reshape(len(packed), -1, 1, run or packed.shape[1])
    return ((runs >> _HALVES) & np.uint8(0x0F)).reshape(len(packed), -1)


def _fifth_bits(packed: Array) -> Array:
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _half(data: Array) -> Array:
    return np.ascontiguousarray(data).view(np.float16).astype(np.float32)


FORMATS: Mapping[str, Format] = {
    "Q4_0": Format(4, 32, True, _q4_0),
    "Q4_1": Format(4, 32, False, _q4_1),
    "Q5_0": Format(5, 32, True, _q5_0),
    "Q5_1": Format(5, 32, False, _q5_1),
    "Q8_0": Format(8, 32, True, _q8_0),
    "Q4_K": Format(4, 32, False, _q4_k),
    "Q5_K": Format(5, 32, False, _q5_k),
    "Q6_K": Format(6, 16, True, _q6_k),
}
"""Name of the format -> its layout."""
