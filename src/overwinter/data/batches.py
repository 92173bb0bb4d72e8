"""Batches with an order and augmentation that depend only on the seed, the epoch and the step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import torch

from overwinter.data.augmentation import for_samples
from overwinter.data.fetching import Seeding, fetch, stream
from overwinter.data.in_memory import InMemory
from overwinter.data.protocol import Batch
from overwinter.data.seeding import generator
from overwinter.data.split import Split
from overwinter.errors import ConfigError
from overwinter.inputs import count as samples_of
from overwinter.inputs import move, take


class Batches:
    """The training split in batches, shuffled in every epoch, and resumable at any step.

    A resumed epoch continues with the same batches as an uninterrupted one. An iterable data set has its own order; if
    it has a method ``set_epoch``, that is called with the number of the epoch.

    Args:
        split: any; `InMemory` takes a fast path. Its ``transform``, if any, is applied.
        batch_size: samples per batch; a smaller last batch is dropped, unless it is the only one.
        seed: seed of order and augmentation.
        device: device of the batches.
        part: which of a batch of so many samples are yielded, where several processes divide it; None: all. The order
            and the augmentation are those of the whole batch.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        part: Callable[[int], slice] | None = None,
    ) -> None:
        self._split = split
        self._count = split.count()
        if self._count < 1:
            raise ConfigError("The training split is empty. Check the settings of data.")
        self._batch_size = min(batch_size, self._count)
        self._part = slice(None) if part is None else part(self._batch_size)
        self._seed = seed
        self._device = device

    def __len__(self) -> int:
        return self._count // self._batch_size

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield inputs (batch, ...), one or several by name, and targets (batch, ...) of one epoch.

        Args:
            number: number of the epoch, from 0.
            start: The number of batches to skip at the beginning.

        Raises:
            ConfigError: an iterable data set has fewer samples than it had or said.
        """
        transform = self._split.transform
        members = None if self._split.is_iterable_only else self._members(number)
        if members is None:
            fetched = self._streamed(number, start)
        else:
            # A transform draws for the whole batch.
            read = members if transform is not None else members[:, self._part]
            fetched = self._shuffled(number, read[start:], start)
        part = self._part if members is None or transform is not None else slice(None)
        for step, (inputs, targets) in enumerate(fetched, start=start):
            moved = move(inputs, self._device)
            if transform is not None:
                numbers = self._in_order(step) if members is None else members[step]
                moved = for_samples(transform, numbers, number)(moved, generator(self._seed, number, step))
            yield take(moved, part), targets[part].to(self._device)

    def _members(self, number: int) -> torch.Tensor:
        """Return the numbers of the samples of each batch (batches, batch)."""
        order = torch.randperm(self._count, generator=generator(self._seed, number))
        return order[: len(self) * self._batch_size].view(len(self), self._batch_size)

    def _in_order(self, step: int) -> torch.Tensor:
        """Return the numbers of a batch of a stream, which has an order of its own."""
        return torch.arange(step * self._batch_size, (step + 1) * self._batch_size)

    def _shuffled(self, number: int, chosen: torch.Tensor, start: int) -> Iterator[Batch]:
        split = self._split
        if isinstance(split.dataset, InMemory):
            return (split.members(batch) for batch in chosen)
        listed = (batch.tolist() for batch in chosen)
        seeding = Seeding(seed=self._seed, first_step=number * len(self) + start)
        return fetch(split.dataset, listed, split.collation, workers=split.workers, seeding=seeding)

    def _streamed(self, number: int, start: int) -> Iterator[Batch]:
        split = self._split
        if callable(set_epoch := getattr(split.dataset, "set_epoch", None)):
            set_epoch(number)
        seeding = Seeding(seed=self._seed, first_step=number * len(self))
        read = stream(
            split.dataset,
            self._batch_size,
            split.collation,
            workers=split.workers,
            seeding=seeding,
            limit=len(self) * self._batch_size,
        )
        for batch in islice(read, start, None):
            self._check_full(batch)
            start += 1
            yield batch
        if start < len(self):
            self._refuse(f"{start} batches of {self._batch_size}")

    def _check_full(self, batch: Batch) -> None:
        if (found := samples_of(batch[0])) < self._batch_size:
            self._refuse(f"a last batch of {found}")

    def _refuse(self, found: str) -> None:
        raise ConfigError(
            f"{self._split.collation.where} gave {found} in an epoch; it had {self._count} samples when they were "
            "counted, or says so. Let every pass over it give the same number."
        )
