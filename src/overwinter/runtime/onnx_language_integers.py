"""Matrices of integers as ONNX Runtime's products store them: from integer layers, and from a GGUF file's blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import nn

from overwinter.models import IntegerLayer, integer_layers
from overwinter.models.gguf_blocks import GgufMatrix

_HALF_BYTE, _BYTE = 4, 8
_RECENT = 3  # matrices: those that an attention's joined product consists of


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What matrices have in common that can be joined to one product.

    Attributes:
        bits: of a stored code, 4 or 8.
        group_size: columns that share a scale; None: a whole row.
        has_zeros: whether each group has a zero point; else it is the middle of the stored codes.
        has_minima: whether each group has a float minimum.
        middle: The code in the middle, before it was stored in more bits.
    """

    bits: int
    group_size: int | None
    has_zeros: bool
    has_minima: bool
    middle: int


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Rows of a matrix. A value is ``(code - zero) * scale``, or with a minimum that of the smallest code.

    Attributes:
        layout: what the rows share.
        codes: (rows, columns) uint8, not packed.
        scale: (rows, groups) float32.
        zero: (rows, groups) uint8, or None.
        minimum: (rows, groups) float32, or None.
    """

    layout: Layout
    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None = None
    minimum: torch.Tensor | None = None


class Source(Protocol):
    """A matrix of integers whose rows can be read."""

    @property
    def layout(self) -> Layout:
        """Layout of all rows."""

    def rows(self, which: slice) -> Stored:
        """Return some rows."""


@dataclass(frozen=True)
class LayerSource:
    """The codes of an integer layer."""

    layer: IntegerLayer

    @property
    def layout(self) -> Layout:
        """Layout of all rows; fewer bits than are stored need zero points, since the middle is another."""
        grid = self.layer.grid
        bits = _stored_bits(grid.bits)
        zeros = not grid.symmetric or grid.bits != bits
        return Layout(bits=bits, group_size=grid.group_size, has_zeros=zeros, has_minima=False, middle=grid.middle)

    def rows(self, which: slice) -> Stored:
        """Return some rows."""
        codes, layout = self.layer.get_codes(which), self.layout
        zero = codes.zero
        if zero is None and layout.has_zeros:
            zero = torch.full_like(codes.scale, layout.middle, dtype=torch.uint8)
        return Stored(layout=layout, codes=codes.codes, scale=codes.scale.float(), zero=zero)


@dataclass(frozen=True)
class GgufSource:
    """A matrix of a GGUF file, which is read when its rows are; its codes are shifted to the middle of the stored ones.

    Args:
        read: returns a matrix of the file by its name.
        name: of this one.
    """

    read: Callable[[str], GgufMatrix]
    name: str

    @property
    def layout(self) -> Layout:
        """Layout of all rows."""
        return _gguf_layout(self.read(self.name))

    def rows(self, which: slice) -> Stored:
        """Return some rows."""
        matrix = self.read(self.name)
        layout = _gguf_layout(matrix)
        shift = (1 << (layout.bits - 1)) - layout.middle
        return Stored(
            layout=layout,
            codes=torch.from_numpy(matrix.codes[which]) + shift,
            scale=torch.from_numpy(matrix.scale[which]),
            minimum=torch.from_numpy(matrix.minimum[which]) if layout.has_minima else None,
        )


def layer_sources(network: nn.Module) -> dict[str, Source]:
    """Return name -> integers of each integer layer; those that share their codes have one source."""
    layers = integer_layers(network)
    own: dict[int, Source] = {id(layer): LayerSource(layer) for layer in layers.values() if layer.source is None}
    return {name: own[id(layer.source or layer)] for name, layer in layers.items()}


def gguf_sources(matrices: Mapping[str, GgufMatrix]) -> dict[str, Source]:
    """Return name -> integers of each matrix of a GGUF file, of which few are kept in memory."""
    read = lru_cache(maxsize=_RECENT)(matrices.__getitem__)
    return {name: GgufSource(read, name) for name in matrices}


def joined(parts: list[Stored]) -> Stored:
    """Return rows of one layout below each other."""
    zeros = [part.zero for part in parts if part.zero is not None]
    minima = [part.minimum for part in parts if part.minimum is not None]
    return Stored(
        layout=parts[0].layout,
        codes=torch.cat([part.codes for part in parts]),
        scale=torch.cat([part.scale for part in parts]),
        zero=torch.cat(zeros) if zeros else None,
        minimum=torch.cat(minima) if minima else None,
    )


def _gguf_layout(matrix: GgufMatrix) -> Layout:
    return Layout(
        bits=_stored_bits(matrix.bits),
        group_size=matrix.group_size,
        has_zeros=False,
        has_minima=not matrix.symmetric,
        middle=1 << (matrix.bits - 1),
    )


def _stored_bits(bits: int) -> int:
    return _HALF_BYTE if bits <= _HALF_BYTE else _BYTE
