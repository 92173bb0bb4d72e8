"""Interfaces of data sources and augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset

SPLITS = ("train", "validation", "test")


class DataSource(Protocol):
    """Labelled samples in three splits that share none.

    Attributes:
        labels: the name of each class; a label is an index into it.
        preprocessing: conversion of raw input to model input, as JSON.
    """

    @property
    def labels(self) -> Sequence[str]: ...  # noqa: D102 - described above

    @property
    def preprocessing(self) -> Mapping[str, Any]: ...  # noqa: D102 - described above

    def split(self, name: str) -> Dataset[tuple[torch.Tensor, int]]:
        """Return the map-style dataset called ``train``, ``validation`` or ``test``."""


class Transform(Protocol):
    """Augmentation of a whole batch while training.

    `Batches` applies a dataset's attribute ``transform``; `tensors` does not.
    """

    def __call__(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the augmented inputs (batch, ...), random through ``generator`` only."""
