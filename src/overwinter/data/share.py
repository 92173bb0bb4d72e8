"""A share of the training split, to find how much of the data is worth its joules: ``data.share``."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Subset

from overwinter.data.fetching import is_iterable_only
from overwinter.data.in_memory import InMemory
from overwinter.data.seeding import generator
from overwinter.errors import ConfigError
from overwinter.inputs import take

SHARE = "share"  # the key
_SEED = 0  # one for all runs: a smaller share is a part of every larger one


def read_share(value: Any) -> float:
    """Return the setting ``data.share``.

    Raises:
        ConfigError: it is no number above 0 and at most 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigError(
            f"data.share={value!r} must be above 0 and at most 1: the share of the training split to use."
        )
    return float(value)


def share_of(dataset: Any, share: float) -> Any:
    """Return a data set with a random share of its samples, at least one of them, in their order.

    Args:
        dataset: map-style.
        share: above 0, at most 1; 1 is the data set itself.

    Raises:
        ConfigError: the data set is iterable, which has no numbered samples.
    """
    if share == 1:
        return dataset
    if is_iterable_only(dataset):
        raise ConfigError(
            f"data.share={share:g} takes samples by their numbers, and the split train is a stream. Set it to 1, and "
            "let your data set give fewer."
        )
    count = len(dataset)
    kept = torch.randperm(count, generator=generator(_SEED, count))[: max(1, round(count * share))].sort().values
    transform = getattr(dataset, "transform", None)
    if isinstance(dataset, InMemory):
        return InMemory(take(dataset.inputs, kept), dataset.targets[kept], transform=transform)
    part = Subset(dataset, kept.tolist())
    part.transform = transform  # type: ignore[attr-defined]  # which a split looks for
    return part
