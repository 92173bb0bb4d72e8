"""Batches with an order and augmentation that depend only on the seed, the epoch and the step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from overwinter.data.in_memory import InMemory
from overwinter.data.samples import collate
from overwinter.errors import ConfigError


class Batches:
    """The training split in batches, shuffled in every epoch, and resumable at any step.

    A resumed epoch continues with the same batches as an uninterrupted one.

    Args:
        dataset: any map-style dataset; `InMemory` takes a fast path. Its ``transform``, if any, is applied.
        batch_size: samples per batch; a smaller last batch is dropped, unless it is the only one.
        seed: seed of order and augmentation.
        device: device of the batches.
    """

    def __init__(self, dataset: Dataset[Any], *, batch_size: int, seed: int, device: torch.device) -> None:
        self._dataset = dataset
        self._count = len(dataset)  # type: ignore[arg-type]  # map-style: Dataset itself declares no length
        if self._count < 1:
            raise ConfigError("The training split is empty. Check the settings of data.")
        self._batch_size = min(batch_size, self._count)
        self._seed = seed
        self._device = device

    def __len__(self) -> int:
        return self._count // self._batch_size

    def epoch(self, number: int, *, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield inputs (batch, ...) and labels (batch,) of one epoch.

        Args:
            number: number of the epoch, from 0.
            start: The number of batches to skip at the beginning.
        """
        order = torch.randperm(self._count, generator=_generator(self._seed, number))
        chosen = order[: len(self) * self._batch_size].view(len(self), self._batch_size)[start:]
        transform = getattr(self._dataset, "transform", None)
        for step, (inputs, labels) in enumerate(self._fetched(chosen), start=start):
            moved = inputs.to(self._device)
            if transform is not None:
                moved = transform(moved, _generator(self._seed, number, step))
            yield moved, labels.to(self._device)

    def _fetched(self, chosen: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if isinstance(self._dataset, InMemory):
            return ((self._dataset.inputs[batch], self._dataset.labels[batch]) for batch in chosen)
        # The loader's own generator keeps it from drawing from the global one, which belongs to the
        # training loop.
        return iter(
            DataLoader(
                self._dataset,
                batch_sampler=chosen.tolist(),
                collate_fn=collate,
                generator=torch.Generator(),
                num_workers=0,
            )
        )


def _generator(*entropy: int) -> torch.Generator:
    """Return a generator on the CPU, seeded with all of ``entropy`` through a SeedSequence."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
