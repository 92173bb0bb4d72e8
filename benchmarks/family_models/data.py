"""Digits and text that the models learn from, in a second or two: scikit-learn's digits, and Python's own documents."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping
from pathlib import Path
from pydoc_data import topics
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

LICENSE = Path(__file__).parents[2] / "LICENSE"
SPLITS = {"train": (0.0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1.0)}
PADDING = 0


class Samples(Dataset[Any]):
    """Pairs of an input, a tensor or several by name, and a target."""

    def __init__(self, inputs: list[Any], targets: list[Any]) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._inputs[index], self._targets[index]


class _Source:
    labels: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] = {}

    def __init__(self, limit: int = 1797) -> None:
        inputs, targets = self.samples(limit)
        order = np.random.default_rng(0).permutation(len(targets))
        self._inputs, self._targets = [inputs[place] for place in order], [targets[place] for place in order]

    def samples(self, limit: int) -> tuple[Any, Any]:
        raise NotImplementedError

    def split(self, name: str) -> Samples:
        begin, end = (round(share * len(self._targets)) for share in SPLITS[name])
        return Samples(self._inputs[begin:end], self._targets[begin:end])


def _digits() -> tuple[torch.Tensor, np.ndarray]:
    digits = load_digits()
    return torch.tensor(digits.images, dtype=torch.float32) / 16, digits.target  # (n, 8, 8), (n,)


def _doubled(images: torch.Tensor) -> torch.Tensor:
    return images.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)[:, None]  # (n, 1, 16, 16)


class Images(_Source):
    """Digits (1, 16, 16) and their class."""

    labels = tuple("0123456789")

    def samples(self, limit: int) -> tuple[Any, Any]:
        images, digits = _digits()
        return _doubled(images[:limit]), digits[:limit].tolist()


class Masks(_Source):
    """Digits (1, 16, 16) and a class per pixel: paper, edge, ink."""

    labels = ("paper", "edge", "ink")

    def samples(self, limit: int) -> tuple[Any, Any]:
        images, _ = _digits()
        doubled = _doubled(images[:limit])
        masks = (doubled[:, 0] > 0.2).long() + (doubled[:, 0] > 0.7).long()
        return doubled + 0.2 * torch.randn(doubled.shape, generator=torch.Generator().manual_seed(0)), masks


class Rows(_Source):
    """Digits as eight rows (8, 8), and whether the digit is odd, is prime, has a loop."""

    labels = ("odd", "prime", "loop")

    def samples(self, limit: int) -> tuple[Any, Any]:
        images, digits = _digits()
        traits = np.stack([digits % 2, np.isin(digits, (2, 3, 5, 7)), np.isin(digits, (0, 6, 8, 9))], axis=1)
        return images[:limit], torch.tensor(traits[:limit], dtype=torch.float32)


class Ink(_Source):
    """The upper half of a digit (32,) and the ink in the lower half, a number around 0."""

    labels = ("ink",)

    def samples(self, limit: int) -> tuple[Any, Any]:
        images, _ = _digits()
        ink = images[:limit, 4:].mean(dim=(1, 2))
        return images[:limit, :4].flatten(1), (ink - ink.mean()) / ink.std()


class Series(_Source):
    """24 steps of a noisy seasonal series (24, 1), and the next 6."""

    labels = ("load",)

    def samples(self, limit: int) -> tuple[Any, Any]:
        random, time = np.random.default_rng(0), np.arange(limit + 30)
        values = (
            np.sin(time * 2 * np.pi / 12) + 0.5 * np.sin(time * 2 * np.pi / 7) + 0.1 * random.normal(size=len(time))
        )
        series = torch.tensor(values, dtype=torch.float32)
        windows = series.unfold(0, 30, 1)[:limit]  # (limit, 30)
        return windows[:, :24, None], windows[:, 24:]


def _texts() -> dict[str, str]:
    documents = "\n".join(text for _, text in sorted(topics.topics.items()))
    return {"licence": LICENSE.read_text(), "documents": documents, "code": inspect.getsource(argparse)}


def _tokens(text: str) -> torch.Tensor:
    return torch.tensor(list(text.encode("ascii", "replace")), dtype=torch.int64)


def _named(tokens: torch.Tensor, length: int) -> dict[str, torch.Tensor]:
    """Return a passage padded to a length, and a mask of what is no padding."""
    padded = torch.full((length,), PADDING)
    padded[: len(tokens)] = tokens
    return {"input_ids": padded, "attention_mask": (torch.arange(length) < len(tokens)).long()}


class Passages(_Source):
    """Passages of 20 to 48 bytes, and where they are from."""

    labels = ("licence", "documents", "code")
    pad: Mapping[str, int] = {"input_ids": PADDING, "attention_mask": 0}

    def samples(self, limit: int) -> tuple[Any, Any]:
        random = np.random.default_rng(0)
        sources = [_tokens(text) for text in _texts().values()]
        inputs, targets = [], []
        for place in range(limit):
            source = sources[place % 3]
            begin, length = int(random.integers(len(source) - 48)), int(random.integers(20, 49))
            inputs.append(_named(source[begin : begin + length], length))
            targets.append(place % 3)
        return inputs, targets


def _tags(tokens: torch.Tensor) -> torch.Tensor:
    letters = torch.tensor([chr(token).isalpha() for token in tokens])
    first = letters & ~torch.cat([torch.tensor([False]), letters[:-1]])
    return letters.long() + first.long()  # 0: no letter, 1: within a word, 2: its first letter


class Tags(_Source):
    """Passages of 32 bytes (32,), and for each whether it is no letter, inside a word, or its first letter."""

    labels = ("other", "inside", "first")

    def samples(self, limit: int) -> tuple[Any, Any]:
        windows = _tokens(_texts()["documents"]).unfold(0, 32, 32)[:limit]
        return windows, [_tags(window) for window in windows]


class NamedTags(_Source):
    """The same passages by name, of 20 to 32 bytes; padding does not count."""

    labels = Tags.labels

    def samples(self, limit: int) -> tuple[Any, Any]:
        random = np.random.default_rng(0)
        windows, tags = Tags().samples(limit)
        lengths = random.integers(20, 33, size=len(tags))
        inputs = [_named(window[:length], 32) for window, length in zip(windows, lengths, strict=True)]
        for row, length in zip(tags, lengths, strict=True):
            row[length:] = -100
        return inputs, tags


class NextBytes(_Source):
    """Windows of 32 bytes of a text (32,), and the byte after each."""

    def samples(self, limit: int) -> tuple[Any, Any]:
        windows = _tokens(_texts()["documents"]).unfold(0, 33, 32)[:limit]
        return windows[:, :-1], windows[:, 1:]
