"""Augmentation of whole batches of images while training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from overwinter.data.protocol import Transform


class RandomShift:
    """Random shift of each image by up to ``pixels`` in both directions; the border has the value ``fill``."""

    def __init__(self, pixels: int, fill: float) -> None:
        self._pixels = pixels
        self._fill = fill

    def __call__(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return shifted images (batch, channels, height, width)."""
        count, _, height, width = inputs.shape
        reach = 2 * self._pixels + 1
        padded = functional.pad(inputs, [self._pixels] * 4, value=self._fill)
        down, right = torch.randint(reach, (2, count, 1), generator=generator)
        rows = (down + torch.arange(height)).to(inputs.device)  # (batch, height)
        columns = (right + torch.arange(width)).to(inputs.device)  # (batch, width)
        samples = torch.arange(count, device=inputs.device)
        # The indexed dimensions come first: (batch, height, width, channels).
        shifted = padded[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return shifted.permute(0, 3, 1, 2).contiguous()


class RandomFlip:
    """Random horizontal flip of half of the images."""

    def __call__(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return images (batch, channels, height, width), some of them mirrored."""
        flip = torch.rand(len(inputs), generator=generator) < 0.5
        return torch.where(flip.to(inputs.device)[:, None, None, None], inputs.flip(-1), inputs)


class Chain:
    """Sequence of transforms."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = tuple(transforms)

    def __call__(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return inputs (batch, ...) after all transforms."""
        for transform in self._transforms:
            inputs = transform(inputs, generator)
        return inputs


def image_augmentation(*, shift_pixels: int, flip: bool, fill: float) -> Transform | None:
    """Return the requested augmentation, or None."""
    chosen: list[Transform] = []
    if shift_pixels:
        chosen.append(RandomShift(shift_pixels, fill))
    if flip:
        chosen.append(RandomFlip())
    return Chain(chosen) if chosen else None
