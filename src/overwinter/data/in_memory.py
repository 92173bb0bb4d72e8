"""Splits that fit into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from overwinter.data.protocol import Transform
from overwinter.data.samples import own_inputs
from overwinter.errors import ConfigError
from overwinter.inputs import named, take


class InMemory(Dataset[tuple[Any, torch.Tensor]]):
    """Samples as tensors, so that a batch is one indexing operation.

    Attributes:
        inputs: (samples, ...), or tensors by name; a tuple of tensors gets the names "0", "1".
        targets: (samples, ...).
        transform: augmentation while training; None for none.
    """

    def __init__(self, inputs: Any, targets: Any, *, transform: Transform | None = None) -> None:
        self.inputs, self.targets = own_inputs(inputs), torch.as_tensor(targets)
        for name, value in named(self.inputs).items():
            if len(value) != len(self.targets):
                what = "inputs" if value is self.inputs else f"inputs {name!r}"
                raise ConfigError(f"{len(value)} {what} have {len(self.targets)} targets. Each input needs one.")
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, torch.Tensor]:
        return take(self.inputs, index), self.targets[index]


def shuffled_by_class(labels: NDArray[np.integer[Any]], seed: int) -> NDArray[np.int64]:
    """Return shuffled indices in which every section has nearly the class shares of the whole.

    Each class is shuffled separately and spread evenly over the order, so that cutting the order gives stratified
    splits.

    Args:
        labels: (samples,).
        seed: seed of the shuffling.
    """
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = generator.permutation(len(members))
        position[members] = (ranks + generator.random()) / len(members)
    return np.argsort(position, kind="stable")
