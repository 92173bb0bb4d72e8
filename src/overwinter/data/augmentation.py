"""Augmentation of whole batches of images while training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from overwinter.data.protocol import Transform
from overwinter.errors import ConfigError

ALTERNATING = "alternating"

_MULTIPLIER, _SHIFT = 2_654_435_761, 16  # 2^32 over the golden ratio, as in Knuth's multiplicative hash


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
        return _flipped(inputs, torch.rand(len(inputs), generator=generator) < 0.5)


def _hashed(numbers: torch.Tensor) -> torch.Tensor:
    """Return whole numbers that seem random; of consecutive ones, after two rounds, in every bit."""
    mixed = numbers * _MULTIPLIER
    return mixed ^ (mixed >> _SHIFT)


def _flipped(inputs: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return images (batch, channels, height, width), the chosen (batch,) mirrored."""
    return torch.where(chosen.to(inputs.device)[:, None, None, None], inputs.flip(-1), inputs)


class AlternatingFlip(RandomFlip):
    """Horizontal flip of a random half of the images in one epoch, and of the other half in the next.

    Two epochs see every image from both sides, which two random flips only do for half of them (Jordan, 2024,
    arXiv:2404.00498). Called without the numbers of the samples, it is a random flip.
    """

    def for_samples(self, numbers: torch.Tensor, epoch: int) -> Transform:
        """Return the flip of a batch of samples (batch,) in an epoch, from 0."""
        side = _hashed(_hashed(numbers)) + epoch

        def flip(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:  # noqa: ARG001 - a transform's
            return _flipped(inputs, side % 2 == 1)

        return flip


class Chain:
    """Sequence of transforms."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = tuple(transforms)

    def __call__(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return inputs (batch, ...) after all transforms."""
        for transform in self._transforms:
            inputs = transform(inputs, generator)
        return inputs

    def for_samples(self, numbers: torch.Tensor, epoch: int) -> Transform:
        """Return the sequence for a batch of samples (batch,) in an epoch, from 0."""
        return Chain([for_samples(transform, numbers, epoch) for transform in self._transforms])


def for_samples(transform: Transform, numbers: torch.Tensor, epoch: int) -> Transform:
    """Return a transform as it is for samples (batch,) in an epoch, from 0; most are the same for all."""
    bind = getattr(transform, "for_samples", None)
    return bind(numbers, epoch) if callable(bind) else transform


def image_augmentation(*, shift_pixels: int, flip: bool | str, fill: float) -> Transform | None:
    """Return the requested augmentation, or None.

    Raises:
        ConfigError: the flip is unknown.
    """
    if flip not in (True, False, ALTERNATING):
        raise ConfigError(f"data.flip={flip!r} is unknown. Allowed: true, false, {ALTERNATING}.")
    chosen: list[Transform] = []
    if shift_pixels:
        chosen.append(RandomShift(shift_pixels, fill))
    if flip:
        chosen.append(AlternatingFlip() if flip == ALTERNATING else RandomFlip())
    return Chain(chosen) if chosen else None
