"""Interfaces of data sources and augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import torch

from overwinter.data.preprocessing import Preprocessing

SPLITS = ("train", "validation", "test")

Batch: TypeAlias = tuple[Any, torch.Tensor]
"""Inputs, one tensor (n, ...) or several by name, and targets (n, ...)."""


class DataSource(Protocol):
    """Samples in three splits that share none.

    Attributes:
        labels: the name of each class or output; the label of a class is an index into it. May be empty.
        preprocessing: conversion of raw input to model input: a mapping, which says what the samples went through; or
            an object, which raw samples are given to.
    """

    @property
    def labels(self) -> Sequence[str]: ...  # noqa: D102 - described above

    @property
    def preprocessing(self) -> Mapping[str, Any] | Preprocessing: ...  # noqa: D102 - described above

    def split(self, name: str) -> Any:
        """Return the dataset called ``train``, ``validation`` or ``test``: map-style or iterable."""


class Transform(Protocol):
    """Augmentation of a whole batch while training.

    `Batches` applies a dataset's attribute ``transform``; `Split` does not.
    """

    def __call__(self, inputs: Any, generator: torch.Generator) -> Any:
        """Return the augmented inputs (batch, ...), random through ``generator`` only."""
