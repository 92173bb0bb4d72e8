"""Checks of targets that several tasks share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.interface import Array

IGNORED = -100
"""Target of a position that does not count, as in torch's cross entropy."""


def check_class_numbers(targets: Array, labels: Sequence[str], *, ignored: int | None = None) -> None:
    """Refuse what are no class numbers.

    Args:
        targets: of any shape.
        labels: the name of each class.
        ignored: a value that marks what does not count.

    Raises:
        ConfigError: with the value, and what is allowed.
    """
    if targets.dtype.kind == "f" and not np.array_equal(targets, np.floor(targets)):
        low, high = float(targets.min()), float(targets.max())
        raise ConfigError(f"Targets are floats between {low:g} and {high:g}, not class numbers: task=regression?")
    counted = targets if ignored is None else targets[targets != ignored]
    if counted.size == 0:
        raise ConfigError(f"Every target is {ignored}, which does not count: there is nothing to learn.")
    low, high, classes = int(counted.min()), int(counted.max()), len(labels)
    if low < 0 or high >= classes:
        raise ConfigError(
            f"There is the target {low if low < 0 else high}, and data names {classes} classes: targets go from 0 to "
            f"{classes - 1}. Mend the targets, or name all classes."
        )


def check_finite(targets: Array) -> None:
    """Refuse NaN and infinity.

    Raises:
        ConfigError: with how many there are.
    """
    odd = int((~np.isfinite(targets)).sum())
    if odd:
        raise ConfigError(f"{odd} of {targets.size} target values are NaN or infinite. Drop or fill them.")
