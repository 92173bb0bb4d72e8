"""Clothes on textures: pictures composed from Fashion-MNIST with a seed, the class of each pixel, and a U-Net."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

import overwinter as ow

_SPLITS = ("train", "validation", "test")
_CLOTH = 8  # grey from which a pixel of an item is cloth, not background
_OVERHANG = 6  # pixels by which an item may reach over the edge
_MOST_ITEMS = 3
_WAVES = 3  # of a texture


class Clothes:
    """Pictures of one to three items on a texture, greys 0 to 255, and the class of each pixel: that of the top item.

    The items of a split are those of Fashion-MNIST's same split, so that no item is in two.

    Args:
        root: folder of Fashion-MNIST's four IDX files, or its address; None: the folder of Debian's package.
        split_seed: seed that selects the validation items and composes the pictures.
        validation_items: number of the 60,000 training items held out for the validation split.
        pictures: number of pictures in each split.
        side: of a picture, in pixels; at least an item's.
    """

    labels = ("background", *ow.data.FashionMnist.labels)

    def __init__(
        self, *, root: str | None, split_seed: int, validation_items: int, pictures: dict[str, int], side: int
    ) -> None:
        self._items = ow.data.FashionMnist(root=root, split_seed=split_seed, validation_samples=validation_items)
        self._seed, self._pictures, self._side = split_seed, pictures, side

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Return the conversion of greys to model input: ``(grey - mean) / std``."""
        side = self._side
        return {
            "raw": {"dtype": "uint8", "shape": [side, side], "range": [0, 255]},
            "input": {"dtype": "float32", "shape": [1, side, side]},
            "mean": 110.0,
            "std": 70.0,
        }

    def split(self, name: str) -> ow.data.InMemory:
        """Return ``train``, ``validation`` or ``test``: pictures (n, 1, side, side), classes (n, side, side)."""
        chance = np.random.default_rng([self._seed, _SPLITS.index(name)])
        images, classes = self._read(name)
        pictures = textures(self._pictures[name], self._side, chance)
        masks = np.zeros(pictures.shape, np.int64)
        for picture, mask in zip(pictures, masks, strict=True):
            for item in chance.integers(len(images), size=chance.integers(1, _MOST_ITEMS + 1)):
                lay(images[item], int(classes[item]) + 1, picture, mask, chance)
        inputs = (pictures[:, None] - self.preprocessing["mean"]) / self.preprocessing["std"]
        return ow.data.InMemory(torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(masks))

    def _read(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the items of a split as greys (n, 28, 28), and their classes (n,)."""
        items, scale = self._items.split(name), self._items.preprocessing
        greys = (items.inputs[:, 0] * scale["std"] + scale["mean"]).round().clamp(0, 255)
        return greys.numpy().astype(np.uint8), items.targets.numpy()


def textures(count: int, side: int, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Return greys (count, side, side): waves in random directions, some noise, and a random contrast."""

    def drawn(low: float, high: float) -> NDArray[np.float64]:
        return chance.uniform(low, high, (count, 1, 1))

    y, x = np.mgrid[:side, :side] / side
    greys = chance.normal(0, 0.5, (count, side, side))
    for _ in range(_WAVES):
        angle, turns, phase = drawn(0, 2 * np.pi), drawn(2, 14), drawn(0, 2 * np.pi)
        greys += np.sin(2 * np.pi * turns * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    greys -= greys.min(axis=(1, 2), keepdims=True)
    darkest = drawn(0, 120)
    contrast = chance.uniform(40, 255 - darkest)
    return (darkest + contrast * greys / greys.max(axis=(1, 2), keepdims=True)).astype(np.uint8)


def lay(
    item: NDArray[np.uint8],
    label: int,
    picture: NDArray[np.uint8],
    mask: NDArray[np.int64],
    chance: np.random.Generator,
) -> None:
    """Lay an item (28, 28), perhaps mirrored, somewhere on a picture (side, side), and its class on the mask."""
    if chance.random() < 0.5:
        item = item[:, ::-1]
    room = len(picture) - len(item) + _OVERHANG
    top, left = (int(place) for place in chance.integers(-_OVERHANG, room + 1, size=2))
    rows, columns = (slice(max(place, 0), place + len(item)) for place in (top, left))
    part = item[max(-top, 0) :, max(-left, 0) :][: len(picture) - rows.start, : len(picture) - columns.start]
    cloth = part >= _CLOTH
    picture[rows, columns][cloth] = part[cloth]
    mask[rows, columns][cloth] = label


class UNet(nn.Module):
    """A small U-Net (Ronneberger, Fischer and Brox, 2015): two steps down, two up, with the finer maps beside.

    Args:
        classes: number of classes.
        width: channels at full resolution; twice and four times as many below.
    """

    def __init__(self, *, classes: int, width: int) -> None:
        super().__init__()
        fine, middle, coarse = width, 2 * width, 4 * width
        self.down1 = _block(1, fine)
        self.down2 = nn.Sequential(_block(fine, middle), _block(middle, middle))
        self.bottom = nn.Sequential(_block(middle, coarse), _block(coarse, coarse), _block(coarse, coarse))
        self.up2 = _block(coarse + middle, middle)
        self.up1 = nn.Sequential(_block(middle + fine, fine), _block(fine, fine))
        self.head = nn.Conv2d(fine, classes, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes, height, width) for pictures (n, 1, height, width)."""
        fine = self.down1(pictures)
        middle = self.down2(functional.max_pool2d(fine, 2))
        coarse = self.bottom(functional.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([_doubled(coarse), middle], dim=1))
        return self.head(self.up1(torch.cat([_doubled(middle), fine], dim=1)))


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _doubled(maps: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")
