"""A small convolutional network for images of a few thousand pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from overwinter.errors import ConfigError


class ConvNet(nn.Module):
    """3x3 convolutions with batch normalisation and ReLU, optional 2x2 pooling, and a linear head.

    Deliberately plain: `torch.fx` can trace it, so channels can be removed; every operation has an int8 kernel.

    Args:
        input_shape: channels, height, width of one image.
        classes: The number of logits.
        channels: output channels of each convolution, in order.
        pool_after: convolutions (from 1) followed by 2x2 maximum pooling.
        dropout: dropout probability of the head's inputs.

    Raises:
        ConfigError: a size is not valid.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        classes: int,
        channels: Sequence[int],
        pool_after: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(input_shape, classes, channels, pool_after, dropout)
        widths = [input_shape[0], *channels]
        blocks: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
            blocks.append(_block(inputs, outputs))
            if number in pool_after:
                blocks.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes) of images (batch, channels, height, width)."""
        features = self.features(images)  # (batch, channels[-1], height / 2^pools, width / 2^pools)
        pooled = torch.flatten(self.pool(features), 1)  # (batch, channels[-1])
        logits: torch.Tensor = self.head(self.dropout(pooled))
        return logits


def _block(inputs: int, outputs: int) -> nn.Sequential:
    # No bias: the following batch normalisation has one.
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _check(
    input_shape: Sequence[int],
    classes: int,
    channels: Sequence[int],
    pool_after: Sequence[int],
    dropout: float,
) -> None:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ConfigError(
            f"model.input_shape={list(input_shape)} must be three positive sizes: channels, height, width."
        )
    if classes < 2:
        raise ConfigError(f"model.classes={classes} must be at least 2.")
    if not channels or min(channels) < 1:
        raise ConfigError(f"model.channels={list(channels)} must name at least one positive width.")
    if any(number < 1 or number > len(channels) for number in pool_after):
        raise ConfigError(f"model.pool_after={list(pool_after)} must name convolutions between 1 and {len(channels)}.")
    if min(input_shape[1:]) < 2 ** len(pool_after):
        raise ConfigError(
            f"model.pool_after={list(pool_after)} halves a {input_shape[1]}x{input_shape[2]} image to nothing. "
            "Name fewer convolutions."
        )
    if not 0 <= dropout < 1:
        raise ConfigError(f"model.dropout={dropout} must be at least 0 and below 1.")
