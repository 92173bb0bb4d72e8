"""Ranges and choices, each refused with its key, its value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from overwinter.errors import ConfigError, nearest


def check_at_least(key: str, value: float, least: float, *, above: bool = False) -> None:
    """Refuse what is below ``least``, or equal to it if it must be ``above``; and NaN and infinity.

    Raises:
        ConfigError: with the key, the value and what is allowed.
    """
    if not math.isfinite(value) or value < least or (above and value == least):
        raise ConfigError(f"{key}={value} must be {'above' if above else 'at least'} {least}.")


def check_share(key: str, value: float, *, with_one: bool = False) -> None:
    """Refuse what is no share: at least 0 and below 1, or at most 1.

    Raises:
        ConfigError: with the key, the value and what is allowed.
    """
    if not 0 <= value <= 1 or (value == 1 and not with_one):
        raise ConfigError(f"{key}={value} must be at least 0 and {'at most' if with_one else 'below'} 1.")


def check_choice(key: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse what is not among ``allowed``.

    Raises:
        ConfigError: with the key, the value, what is allowed, and the nearest.
    """
    if value not in allowed:
        raise ConfigError(f"{key}={value!r} is unknown. Allowed: {', '.join(allowed)}.{nearest(value, allowed)}")
