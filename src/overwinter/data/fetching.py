"""Reading batches of any data set, in this process or in workers, holding a few of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from overwinter.data.protocol import Batch
from overwinter.data.seeding import seed_globally

Collate = Callable[[Sequence[Any]], Batch]


@dataclass(frozen=True, kw_only=True)
class Seeding:
    """What the global generators are seeded with before a batch is read.

    Attributes:
        seed: of the run.
        first_step: optimizer steps done before the first batch.
    """

    seed: int
    first_step: int

    def before(self, batch: int) -> None:
        """Seed them for a batch, numbered from 0."""
        seed_globally(self.seed, self.first_step + batch)


def is_iterable_only(dataset: Any) -> bool:
    """Return whether a data set can only be read in its own order."""
    return isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")


def samples_at(dataset: Any, members: Sequence[int]) -> Sequence[Any]:
    """Return samples of a map-style data set by their numbers."""
    if (several := getattr(dataset, "__getitems__", None)) is not None:
        found: Sequence[Any] = several(list(members))
        return found
    return [dataset[member] for member in members]


def fetch(
    dataset: Any,
    members: Iterable[Sequence[int]],
    collate: Collate,
    *,
    workers: int = 0,
    seeding: Seeding | None = None,
) -> Iterator[Batch]:
    """Yield batches of a map-style data set.

    Args:
        dataset: map-style.
        members: the samples' numbers of each batch; read as they are needed.
        collate: makes a batch of samples.
        workers: processes that read ahead; 0: none.
        seeding: of each batch in a worker. In this process, the caller seeds.
    """
    if not workers:
        return (collate(samples_at(dataset, batch)) for batch in members)
    return _loaded(_Fetcher(dataset, collate, seeding), workers, sampler=enumerate(members))


def stream(
    dataset: Any, size: int, collate: Collate, *, workers: int = 0, seeding: Seeding | None = None, limit: int | None
) -> Iterator[Batch]:
    """Yield batches of an iterable data set, in its order; the last may be smaller.

    Args:
        dataset: iterable.
        size: samples of a batch.
        collate: makes a batch of samples.
        workers: 0: read in this process; else one process reads ahead: several would each read everything.
        seeding: of each batch.
        limit: the number of samples at most; None: all.
    """
    streamer = _Streamer(dataset, size, collate, seeding, limit)
    return _loaded(streamer, 1) if workers else iter(streamer)


class _Fetcher(Dataset[Batch]):
    """Makes each batch where it is read, so that its randomness depends on its number and not on the worker."""

    def __init__(self, dataset: Any, collate: Collate, seeding: Seeding | None) -> None:
        self._dataset, self._collate, self._seeding = dataset, collate, seeding

    def __getitem__(self, order: tuple[int, Sequence[int]]) -> Batch:
        number, members = order
        if self._seeding is not None and get_worker_info() is not None:
            self._seeding.before(number)
        return self._collate(samples_at(self._dataset, members))


class _Streamer(IterableDataset[Batch]):
    def __init__(self, dataset: Any, size: int, collate: Collate, seeding: Seeding | None, limit: int | None) -> None:
        self._dataset, self._size, self._collate = dataset, size, collate
        self._seeding, self._limit = seeding, limit

    def __iter__(self) -> Iterator[Batch]:
        if self._seeding is not None:
            self._seeding.before(0)
        samples = islice(iter(self._dataset), self._limit)
        for number in count():
            if self._seeding is not None:
                self._seeding.before(number)
            batch = self._read(samples)
            if batch is None:
                return
            yield batch
            del batch

    def _read(self, samples: Iterator[Any]) -> Batch | None:
        read = list(islice(samples, self._size))  # not held any longer than this
        return self._collate(read) if read else None


def _loaded(dataset: Dataset[Batch], workers: int, sampler: Iterable[Any] | None = None) -> Iterator[Batch]:
    """Read in workers; their loader's own generator keeps it from drawing from the global one."""
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            collate_fn=_as_it_is,
            generator=torch.Generator(),
            num_workers=workers,
        )
    )


def _as_it_is(batch: Any) -> Any:
    return batch
