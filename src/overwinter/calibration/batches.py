"""Calibration samples as batches of model inputs, each collated by itself: their lengths may differ.

The functions work on batches of arrays and of tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from overwinter import inputs as model_inputs


def as_batches(samples: Any) -> tuple[Any, ...]:
    """Return one batch, or a list or tuple of them, as a tuple of batches; empty ones are left out."""
    batches = tuple(samples) if isinstance(samples, list | tuple) else (samples,)
    return tuple(each for each in batches if model_inputs.count(each))


def count_samples(batches: Sequence[Any]) -> int:
    """Return the number of samples of all batches together."""
    return sum(map(model_inputs.count, batches))


def first_samples(batches: Sequence[Any], count: int) -> tuple[Any, ...]:
    """Return the first ``count`` samples, as batches."""
    chosen, left = [], count
    for batch in batches:
        if left > 0:
            chosen.append(model_inputs.take(batch, slice(0, left)))
            left -= model_inputs.count(chosen[-1])
    return tuple(chosen)


def split_batches(batches: Sequence[Any], size: int) -> Iterator[Any]:
    """Yield the samples in batches of at most ``size``."""
    for batch in batches:
        yield from model_inputs.chunks(batch, size)


def to_tensors(batches: Sequence[Any]) -> tuple[Any, ...]:
    """Return batches of arrays as batches of tensors that share their memory."""
    return tuple(map(model_inputs.to_tensors, batches))
