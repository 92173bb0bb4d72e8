"""Reading of targets that several tasks share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.interface import Array

IGNORED = -100
"""Target of a position that does not count, as in torch's cross entropy."""


def read_class_numbers(targets: Array, labels: Sequence[str], *, ignored: int | None = None) -> Array:
    """Return targets of any shape as int64 class numbers.

    Args:
        targets: whole numbers of any type, or bool.
        labels: the name of each class.
        ignored: a value that marks what does not count.

    Raises:
        ConfigError: with the value, and what is allowed.
    """
    refuse_no_numbers(targets)
    floats = targets.dtype.kind == "f"
    if floats:
        check_finite(targets)
    if floats and not np.array_equal(targets, np.floor(targets)):
        low, high = float(targets.min()), float(targets.max())
        raise ConfigError(f"Targets are floats between {low:g} and {high:g}, not class numbers: task=regression?")
    numbers = targets.astype(np.int64)
    counted = numbers if ignored is None else numbers[numbers != ignored]
    _refuse_unknown(counted, labels, hint=" Or task=regression?" if floats else "")
    return np.asarray(numbers)


def _refuse_unknown(numbers: Array, labels: Sequence[str], *, hint: str) -> None:
    if not labels:
        raise ConfigError("Data names no classes. Give it `labels`, the name of each class.")
    low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
    if low < 0 or high >= len(labels):
        raise ConfigError(
            f"There is the target {low if low < 0 else high}, and data names {len(labels)} classes: targets go from 0 "
            f"to {len(labels) - 1}. Correct the targets, or name all classes.{hint}"
        )


def read_numbers(targets: Array) -> Array:
    """Return targets of any shape as finite float32.

    Raises:
        ConfigError: they are no numbers, or some are NaN or infinite.
    """
    if targets.dtype.kind == "b":
        raise ConfigError("Targets are bool, not numbers: task=classification or task=multilabel?")
    refuse_no_numbers(targets)
    check_finite(targets)
    return targets.astype(np.float32)


def refuse_no_numbers(targets: Array) -> None:
    """Refuse text and objects.

    Raises:
        ConfigError: with one of them.
    """
    if targets.dtype.kind not in "biuf":
        example = f", such as {targets.flat[0]!r}" if targets.size else ""
        raise ConfigError(f"Targets are {targets.dtype}{example}: give numbers, and the names as data's `labels`.")


def check_finite(targets: Array) -> None:
    """Refuse NaN and infinity.

    Raises:
        ConfigError: with how many there are.
    """
    odd = int((~np.isfinite(targets)).sum())
    if odd:
        raise ConfigError(f"{odd} of {targets.size} target values are NaN or infinite. Drop or fill them.")


def without_last_axis_of_one(targets: Array, *, ndim: int) -> Array:
    """Return targets (..., 1) with one axis more than ``ndim`` without that axis."""
    return targets[..., 0] if targets.ndim == ndim + 1 and targets.shape[-1] == 1 else targets
