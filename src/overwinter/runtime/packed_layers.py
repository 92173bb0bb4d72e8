"""Integer layers for torch's 4-bit kernel on the CPU, in bfloat16: the weight is in memory once, as its codes.

The kernel dequantizes as it multiplies, which is quickest for a few tokens. For many, the weight is dequantized a
piece at a time, at every call, and multiplied by the float product. A weight of 8 bits is two of 4: its codes' upper
and lower halves, with scales of which one is 16 times the other; torch's own 8-bit kernel knows no groups.

The codes lie as ``torch._convert_weight_to_int4pack_for_cpu`` leaves them: rows in blocks, of which a byte holds one
code of the first half and one of the second (aten/src/ATen/native/cpu/int4mm_kernel.cpp); `block_rows` checks that
this torch and this processor do so.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from overwinter.models import IntegerLayer

_KERNEL_GROUPS = (256, 128, 64, 32)  # group sizes that the kernel takes
_BLOCKS = (64, 32)  # rows of a block, with AVX-512 and with AVX2
_PADDED = 64  # to a multiple of which rows are filled up
_MIDDLE = 8  # the code that the kernel subtracts first
# Tokens up to which the kernel is quicker than dequantizing, on SmolLM2's layers and an AVX-512 processor: by the
# number of halves.
_FEW = {1: 96, 2: 48}
_PIECE = 1 << 20  # values that are dequantized at once: they fit into a core's cache
_PACKED_AT_ONCE = 1 << 18  # values: what packing needs beside is freed, and lies scattered in the heap


class PackedLinear(nn.Module):
    """`torch.nn.Linear` in bfloat16 with a weight of up to 8 bits.

    Args:
        layer: weight-only layer that `packs`.

    Attributes:
        codes: (halves, padded rows, columns / 2) uint8, as the kernel takes them, the upper half first.
        scales_and_offsets: (halves, groups, padded rows, 2) bfloat16.
    """

    codes: torch.Tensor
    scales_and_offsets: torch.Tensor

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.out_features, self.in_features = layer.weight_shape
        group = _kernel_group(layer)
        assert group is not None  # noqa: S101 -- `packs` says so
        self._group_size, self._halves = group, 1 if layer.grid.bits <= 4 else 2
        self.register_buffer("codes", _packed(layer, self._halves))
        self.register_buffer("scales_and_offsets", _scales_and_offsets(layer, group, self._halves))
        self.bias = layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., out) of (..., in)."""
        tokens = input.bfloat16().flatten(0, -2)  # (tokens, in)
        product = self._few(tokens) if len(tokens) <= _FEW[self._halves] else self._many(tokens)
        output = product[:, : self.out_features]
        if self.bias is not None:
            output = output + self.bias
        return output.reshape(*input.shape[:-1], self.out_features)

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Return rows (n, in) of the dequantized weight, bfloat16."""
        block, place = indices // block_rows(), indices % block_rows()
        half = block_rows() // 2
        found = self._blocks()[:, block, :, place % half]  # (n, halves, in), as torch places separated indices
        nibbles = torch.where((place < half)[:, None, None], found & 15, found >> 4)
        codes = (
            (nibbles[:, 0] if self._halves == 1 else nibbles[:, 0] << 4 | nibbles[:, 1])
            .float()
            .view(len(indices), -1, self._group_size)
        )  # (n, groups, size)
        scale, offset = (each[:, indices].T[:, :, None] for each in self._affine())  # (n, groups, 1)
        return (codes * scale + offset).flatten(1).bfloat16()

    def _few(self, tokens: torch.Tensor) -> torch.Tensor:
        products = [
            torch._weight_int4pack_mm_for_cpu(tokens, codes, self._group_size, scales_and_offsets)
            for codes, scales_and_offsets in zip(self.codes, self.scales_and_offsets, strict=True)
        ]
        return products[0] if len(products) == 1 else products[0] + products[1]

    def _many(self, tokens: torch.Tensor) -> torch.Tensor:
        blocks, half = self._blocks(), block_rows() // 2
        piece = max(1, _PIECE // (self.in_features * 2 * half))  # blocks
        output = tokens.new_empty(len(tokens), blocks.shape[1], 2, half)
        scale, offset = (each.view(len(each), -1, 2, half) for each in self._affine())  # (groups, blocks, 2, half)
        for begin in range(0, blocks.shape[1], piece):
            taken = slice(begin, begin + piece)
            for which, codes in enumerate(_unpacked(blocks[:, taken])):
                weight = _dequantized(codes, scale[:, taken, which], offset[:, taken, which])
                output[:, taken, which] = (tokens @ weight).view(len(tokens), -1, half)
        return output.flatten(1)

    def _blocks(self) -> torch.Tensor:
        """Return the packed codes (halves, blocks, in, rows of a block / 2)."""
        return self.codes.view(self._halves, -1, self.in_features, block_rows() // 2)

    def _affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scale and offset (groups, padded rows), float32: a value is code * scale + offset."""
        scales, offsets = self.scales_and_offsets.float().unbind(-1)  # (halves, groups, padded rows)
        return scales[-1], (offsets - _MIDDLE * scales).sum(0)


class PackedEmbedding(nn.Module):
    """An embedding in bfloat16 that looks up rows of a head's weight, to which it is tied.

    Args:
        head: the head.
        factor: by which rows are multiplied.
    """

    def __init__(self, head: PackedLinear, factor: float) -> None:
        super().__init__()
        self._head = [head]  # in a list, so that it is no submodule
        self.factor = factor

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., features) of whole numbers (...)."""
        rows = self._head[0].rows(input.flatten())
        return (rows if self.factor == 1 else rows * self.factor).reshape(*input.shape, -1)


def packs(layer: IntegerLayer) -> bool:
    """Return whether `PackedLinear` can hold a weight-only Linear layer, or a symmetric one of more than 4 bits."""
    fits = layer.grid.bits <= 4 or layer.grid.symmetric  # offsets of 8 bits are too coarse in bfloat16
    return fits and _kernel_group(layer) is not None and block_rows() > 0


@functools.cache
def block_rows() -> int:
    """Return how many rows the kernel packs together, found by packing a few codes; 0 if it packs them otherwise."""
    codes = torch.arange(2 * _PADDED * 32).mul(7).remainder(13).view(-1, 32).to(torch.uint8)  # (rows, columns)
    packed = torch._convert_weight_to_int4pack_for_cpu(codes.int(), 1).flatten()
    for rows in _BLOCKS:
        blocks = packed.view(-1, 32, rows // 2)  # (blocks, columns, rows / 2)
        if torch.equal(torch.cat([blocks & 15, blocks >> 4], 2).transpose(1, 2).reshape(codes.shape), codes):
            return rows
    return 0


def _kernel_group(layer: IntegerLayer) -> int | None:
    """Return the largest of the kernel's group sizes that divides the layer's groups, of which none is shorter."""
    size = layer.grid.group_size or layer.columns
    fitting = (each for each in _KERNEL_GROUPS if size % each == 0 and layer.columns % each == 0)
    return next(fitting, None)


def _packed(layer: IntegerLayer, halves: int) -> torch.Tensor:
    """Pack a layer's codes for the kernel, a piece at a time: it takes them as int32.

    They are moved so that a symmetric grid's middle is the kernel's, and its offsets exact.
    """
    rows, columns = layer.weight_shape
    shift = _MIDDLE * 16 ** (halves - 1) - layer.grid.middle
    padded = -(-rows // _PADDED) * _PADDED
    packed = torch.zeros(halves, padded, columns // 2, dtype=torch.uint8)
    piece = max(1, _PACKED_AT_ONCE // (columns * _PADDED)) * _PADDED
    for begin in range(0, rows, piece):
        taken = layer.get_codes(slice(begin, begin + piece)).codes + shift
        taken = nn.functional.pad(taken, (0, 0, 0, -len(taken) % _PADDED))
        for half, nibbles in enumerate([taken] if halves == 1 else [taken >> 4, taken & 15]):
            packed[half, begin : begin + len(taken)] = torch._convert_weight_to_int4pack_for_cpu(nibbles.int(), 1)
    return packed


def _scales_and_offsets(layer: IntegerLayer, group: int, halves: int) -> torch.Tensor:
    """Return (halves, groups, padded rows, 2), bfloat16: a half's value is (code - 8) * scale + offset."""
    of_group = torch.arange(0, layer.columns, group) // (layer.grid.group_size or layer.columns)
    scale, zeros = layer.get_scales()
    scale = scale[:, of_group]  # (rows, groups)
    zero = torch.full_like(scale, layer.grid.middle) if zeros is None else zeros[:, of_group].float()
    offset = (layer.grid.middle - zero) * scale
    pairs = [(scale, offset)] if halves == 1 else [(16 * scale, 0 * scale), (scale, offset + _MIDDLE * scale)]
    both = torch.stack([torch.stack(pair, 2) for pair in pairs]).transpose(1, 2)  # (halves, groups, rows, 2)
    padding = (0, 0, 0, -len(scale) % _PADDED)
    return nn.functional.pad(both, padding).bfloat16().contiguous()


def _unpacked(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the codes of the first halves of blocks and of the second, (in, blocks, rows of a block / 2) both.

    They stay apart, as they lie: to put rows in order costs more than the product of a few hundred tokens.
    """
    across = blocks.transpose(1, 2).contiguous()  # (halves, in, blocks, rows of a block / 2)
    if len(across) == 1:
        return across[0] & 15, across[0] >> 4
    upper, lower = across
    return upper << 4 | lower & 15, upper & 0xF0 | lower >> 4


def _dequantized(codes: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Return (in, rows), bfloat16, of codes (in, ...) with a scale and an offset (groups, ...)."""
    values = codes.float().view(len(scale), -1, codes[0].numel())  # (groups, size, rows)
    scale, offset = (each.reshape(len(scale), 1, -1) for each in (scale, offset))
    return torch.addcmul(offset, values, scale, out=values).view(len(codes), -1).bfloat16()
