"""One split, read in batches: all of it in order, the first samples, or samples from all of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch

from overwinter.data.collation import Collation
from overwinter.data.fetching import fetch, is_iterable_only, samples_at, stream
from overwinter.data.in_memory import InMemory
from overwinter.data.protocol import Batch, Transform
from overwinter.data.samples import as_sample, model_type, raw_input
from overwinter.data.transforms import batch_transform
from overwinter.errors import ConfigError
from overwinter.inputs import each, take, to_arrays
from overwinter.tasks import Task


class Split:
    """A data set as every stage reads it; nothing of it but a few batches is in memory, unless it is `InMemory`.

    Args:
        dataset: map-style or iterable, of samples as `overwinter.data.samples` describes them.
        name: ``train``, ``validation`` or ``test``.
        collation: how samples become a batch.
        workers: processes that read ahead; 0: none. Not used for `InMemory`.

    Attributes:
        dataset: as given.
        name: as given.
        size: the number of samples; None: an iterable data set does not say.
        transform: augmentation while training, of whole batches; None: none. Only `Batches` applies it.
    """

    def __init__(
        self, dataset: Any, *, name: str = "train", collation: Collation | None = None, workers: int = 0
    ) -> None:
        self.dataset, self.name = dataset, name
        self.workers = workers
        self.collation = collation or Collation(where=f"data: the split {name}")
        self.is_iterable_only = is_iterable_only(dataset)
        self.size = self._find_size()

    @property
    def transform(self) -> Transform | None:
        """Augmentation of whole batches while training."""
        return batch_transform(self.dataset)

    def use(self, task: Task | None) -> Split:
        """Return the split with targets that the task read."""
        if task is self.collation.task:
            return self
        used = copy.copy(self)  # which keeps the count of an iterable data set
        used.collation = replace(self.collation, task=task)
        used.__dict__.pop("_targets", None)
        return used

    def count(self) -> int:
        """Return the number of samples; an iterable data set that does not say is read once to count them."""
        return self._counted if self.size is None else self.size

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all of it in order, in batches of at most ``size`` samples, never augmented."""
        if isinstance(self.dataset, InMemory):
            return (self.members(slice(start, start + size)) for start in range(0, self.count(), size))
        if self.is_iterable_only:
            return stream(self.dataset, size, self.collation, workers=self.workers, limit=self.size)
        numbers = range(self.count())
        members = (numbers[start : start + size] for start in range(0, len(numbers), size))
        return fetch(self.dataset, members, self.collation, workers=self.workers)

    def first(self, count: int) -> Batch:
        """Return the first samples in one batch.

        Raises:
            ConfigError: there is none.
        """
        if isinstance(self.dataset, InMemory) and self.count():
            return self.members(slice(count))
        return self._collated(self.first_samples(count))

    def whole(self) -> Batch:
        """Return all samples in one batch, of a split that fits into memory.

        Raises:
            ConfigError: there is none.
        """
        if isinstance(self.dataset, InMemory):
            return self.first(self.count())
        return self._collated(list(self.samples()))

    def spread(self, count: int, *, seed: int) -> Batch:
        """Return samples drawn from all of it in one batch, in random order: one set sorted by class gives every class.

        Args:
            count: the number of samples at most.
            seed: of the drawing.

        Raises:
            ConfigError: there is none.
        """
        if isinstance(self.dataset, InMemory) and self.count():
            return self.members(torch.from_numpy(self.spread_numbers(count, seed)))
        return self._collated(self.spread_samples(count, seed=seed))

    def spread_batches(self, count: int, size: int, *, seed: int) -> list[Batch]:
        """Return the samples of `spread` in batches of at most ``size``: each is padded to its own longest sample.

        Raises:
            ConfigError: there is none.
        """
        if isinstance(self.dataset, InMemory):
            return [self.spread(count, seed=seed)]
        samples = self.spread_samples(count, seed=seed)
        self.refuse_if_empty(len(samples))
        return [self._collated(samples[start : start + size]) for start in range(0, len(samples), size)]

    def singles(self, count: int) -> list[Any]:
        """Return the inputs of samples from all of it (of an iterable data set the first), each a batch of its own."""
        samples = self.first_samples(count) if self.is_iterable_only else self.spread_samples(count, seed=0)
        return [self._collated([sample])[0] for sample in samples]

    def samples(self) -> Iterator[Any]:
        """Yield all samples in order, as the data set gives them."""
        if self.is_iterable_only:
            return islice(iter(self.dataset), self.size)
        return (self.dataset[number] for number in range(self.count()))  # it need not support iteration

    def first_samples(self, count: int) -> Sequence[Any]:
        """Return the first samples as the data set gives them."""
        return list(islice(self.samples(), count))

    def spread_samples(self, count: int, *, seed: int) -> Sequence[Any]:
        """Return samples drawn from all of it, as the data set gives them."""
        if self.is_iterable_only:
            return _reservoir(self.samples(), count, seed)
        return samples_at(self.dataset, self.spread_numbers(count, seed).tolist())

    def refuse_if_empty(self, count: int | None) -> None:
        """Refuse 0 samples.

        Raises:
            ConfigError: there are 0.
        """
        if count == 0:
            raise ConfigError(f"{self.collation.where} has no samples. It needs at least one.")

    def members(self, index: Any) -> Batch:
        """Return the samples of an `InMemory` split that a slice or a tensor of numbers picks."""
        inputs = take(self.dataset.inputs, index)
        if self.collation.prepares is not None:
            return self.collation.prepared(to_arrays(inputs)), self._targets[index]
        return each(model_type, inputs), self._targets[index]

    def raw(self, count: int) -> list[Any]:
        """Return the raw inputs of the first samples, of a data source whose preprocessing is an object."""
        return [raw_input(as_sample(sample)[0]) for sample in self.first_samples(count)]

    @cached_property
    def _targets(self) -> torch.Tensor:
        return self.collation.typed(self.dataset.targets)

    @cached_property
    def _counted(self) -> int:
        return sum(1 for _ in self.samples())

    def _find_size(self) -> int | None:
        if hasattr(type(self.dataset), "__len__"):
            return len(self.dataset)
        if self.is_iterable_only:
            return None
        raise ConfigError(
            f"{self.collation.where} is a {type(self.dataset).__name__} without a length. Give it a method __len__, or "
            "derive it from torch.utils.data.IterableDataset."
        )

    def _collated(self, samples: Sequence[Any]) -> Batch:
        self.refuse_if_empty(len(samples))
        return self.collation(samples)

    def spread_numbers(self, count: int, seed: int) -> Any:
        """Return the number of one sample of each of ``count`` equal stretches, in random order (n,), int64."""
        total, generator = self.count(), np.random.default_rng(seed)
        if not total:
            return np.empty(0, np.int64)
        edges = np.linspace(0, total, min(count, total) + 1).astype(np.int64)
        return generator.permutation(generator.integers(edges[:-1], edges[1:]))


def _reservoir(samples: Iterator[Any], count: int, seed: int) -> list[Any]:
    """Return samples of a stream, each as likely as any other (Vitter's algorithm R, 1985), in random order."""
    generator = np.random.default_rng(seed)
    kept = list(islice(samples, count))
    for number, sample in enumerate(samples, start=len(kept)):
        place = int(generator.integers(number + 1))
        if place < count:
            kept[place] = sample
    return [kept[place] for place in generator.permutation(len(kept))]
