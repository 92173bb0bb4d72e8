"""Splits that fit into memory, and conversion of any split to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from overwinter.data.protocol import Transform
from overwinter.data.samples import as_labels, collate
from overwinter.errors import ConfigError


class InMemory(Dataset[tuple[torch.Tensor, int]]):
    """Samples as two tensors, so that a batch is one indexing operation.

    Attributes:
        inputs: (samples, ...), float32; floats of another width are converted.
        labels: (samples,), int64; whole numbers of another type are converted.
        transform: augmentation while training; None for none.
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, *, transform: Transform | None = None) -> None:
        if len(inputs) != len(labels):
            raise ConfigError(f"{len(inputs)} inputs have {len(labels)} labels. Each input needs one.")
        floats = inputs.is_floating_point()  # of a language model, inputs and labels are tokens
        self.inputs = inputs.to(torch.float32) if floats else inputs
        self.labels = as_labels(labels) if floats else labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.inputs[index], int(self.labels[index])


def tensors(dataset: Dataset[Any], limit: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs (n, ...) and labels (n,), never augmented.

    Args:
        dataset: any map-style dataset of (float array, whole number).
        limit: how many samples at most, from the beginning; None for all.

    Raises:
        ConfigError: there is no sample, or one is no pair of a float array and the number of a class.
    """
    count = len(dataset)  # type: ignore[arg-type]  # map-style: Dataset itself declares no length
    count = count if limit is None else min(limit, count)
    if count < 1:
        raise ConfigError(f"The data set has {count} samples to read. A split needs at least one.")
    if isinstance(dataset, InMemory):
        return dataset.inputs[:count], dataset.labels[:count]
    return collate([dataset[index] for index in range(count)])


def spread_inputs(dataset: Dataset[Any], count: int, *, seed: int) -> torch.Tensor:
    """Return inputs (n, ...) drawn from the whole data set, in random order, never augmented.

    One sample is drawn from each of ``count`` equal stretches, so that a data set sorted by class gives samples of
    every class.

    Args:
        dataset: any map-style dataset of (float array, whole number).
        count: the number of samples at most.
        seed: of the drawing.

    Raises:
        ConfigError: there is no sample.
    """
    total = len(dataset)  # type: ignore[arg-type]  # map-style: Dataset itself declares no length
    if total < 1:
        raise ConfigError("The data set has no samples to read. A split needs at least one.")
    generator = np.random.default_rng(seed)
    edges = np.linspace(0, total, min(count, total) + 1).astype(np.int64)
    chosen = generator.permutation(generator.integers(edges[:-1], edges[1:]))  # (n,)
    if isinstance(dataset, InMemory):
        return dataset.inputs[torch.from_numpy(chosen)]
    return collate([dataset[int(index)] for index in chosen])[0]


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
