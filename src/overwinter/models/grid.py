"""Grids: the values that a quantized weight can take, and the packing of codes into bytes.

A weight is viewed as a matrix (out, columns): one row per output channel, its inputs flattened. A row is divided
into groups; each group has a scale, and a zero point if the grid is asymmetric. ``value = (code - zero) *
scale`` with codes from 0 to ``2**bits - 1``, so a float zero is exact on every grid made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models.state import is_finite

_LEAST_SCALE = 2.0**-24  # the smallest number of float16 above 0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Quantization grid of a weight.

    Attributes:
        bits: bits per code, 2 to 8.
        group_size: The number of columns that share a scale; the last group of a row may be shorter. None: one group
            per row.
        symmetric: the zero point is the middle code, ``2**(bits - 1)``, and not stored.
        compact: scales are float16 numbers, as other programs hold them, and are stored so; zero points of at most 4
            bits are stored two per byte.
    """

    bits: int
    group_size: int | None = None
    symmetric: bool = True
    compact: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ConfigError(f"A grid of {self.bits} bits cannot be stored. Use 2 to 8 bits.")
        if self.group_size is not None and self.group_size < 1:
            raise ConfigError(f"group_size={self.group_size} must be at least 1, or null for one group per channel.")

    @property
    def top(self) -> int:
        """Largest code."""
        return (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """Zero point of a symmetric grid."""
        return 1 << (self.bits - 1)

    def groups(self, columns: int) -> int:
        """Return the number of groups in a row of ``columns``."""
        return 1 if self.group_size is None else -(-columns // self.group_size)

    def grouped(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return (out, columns) as (out, groups, size), a short last group padded with zeros."""
        rows, columns = matrix.shape
        size = columns if self.group_size is None else self.group_size
        missing = self.groups(columns) * size - columns
        padded = functional.pad(matrix, (0, missing)) if missing else matrix
        return padded.reshape(rows, -1, size)

    def between(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return scale and zero point (None if symmetric) of groups with values between two bounds.

        Args:
            low: (out, groups), at most 0, so that zero stays on the grid.
            high: (out, groups), at least 0.
        """
        if self.symmetric:
            return self.held(_never_zero(torch.maximum(-low, high) / (self.middle - 1 or 1))), None
        scale = self.held(_never_zero((high - low) / self.top))
        return scale, (-low / scale).round().clamp(0, self.top)

    def held(self, scale: torch.Tensor) -> torch.Tensor:
        """Return scales as they are stored, float32: on a compact grid the nearest numbers of float16 above 0."""
        return scale.half().float().clamp_(min=_LEAST_SCALE) if self.compact else scale.float()

    def nearest(self, matrix: torch.Tensor) -> Codes:
        """Round (out, columns) to the nearest codes, with each group's range from its minimum to its maximum."""
        values = self.grouped(matrix)
        scale, zero = self.between(values.amin(2).clamp(max=0), values.amax(2).clamp(min=0))
        return self.encode(matrix, scale, zero)

    def encode(self, matrix: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None) -> Codes:
        """Round (out, columns) to the nearest codes for a scale and a zero point (out, groups).

        Raises:
            OverwinterError: a scale is too large for a compact grid.
        """
        scale = self.held(scale)
        if self.compact and not is_finite(scale):
            raise OverwinterError(
                f"A weight of {float(matrix.abs().max()):.3g} needs a scale above float16's largest number, 65504. "
                "Name its layer in quantize.skip, or train the model with a smaller learning rate."
            )
        origin = self.middle if zero is None else zero[:, :, None]
        codes = (self.grouped(matrix) / scale[:, :, None]).round_().add_(origin).clamp_(0, self.top)
        kept = codes.flatten(1)[:, : matrix.shape[1]]
        return Codes(codes=kept.to(torch.uint8), scale=scale, zero=None if zero is None else zero.to(torch.uint8))

    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the values (out, columns), float32."""
        origin = self.middle if codes.zero is None else codes.zero[:, :, None].float()
        values = self.grouped(codes.codes).to(torch.float32, copy=True).sub_(origin).mul_(codes.scale[:, :, None])
        return values.flatten(1)[:, : codes.codes.shape[1]]


@dataclass(frozen=True, kw_only=True)
class Codes:
    """A quantized matrix.

    Attributes:
        codes: (out, columns), uint8, not packed.
        scale: (out, groups), float32, positive.
        zero: (out, groups), uint8; None on a symmetric grid.
    """

    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None


def pack(codes: torch.Tensor) -> torch.Tensor:
    """Return codes of at most 4 bits (out, columns) two per byte, the earlier column in the lower half."""
    even = functional.pad(codes, (0, codes.shape[1] % 2))
    return even[:, 0::2] | (even[:, 1::2] << 4)  # (out, ceil(columns / 2))


def unpack(packed: torch.Tensor, columns: int) -> torch.Tensor:
    """Return the codes (out, columns) that `pack` packed."""
    return torch.stack([packed & 15, packed >> 4], dim=2).flatten(1)[:, :columns]


def _never_zero(scale: torch.Tensor) -> torch.Tensor:
    # A group of zeros, or of values so small that the division underflows.
    return torch.where(scale > 0, scale, torch.ones_like(scale))
