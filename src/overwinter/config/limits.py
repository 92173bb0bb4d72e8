"""Parsing of the group `budget/`: limits with their units, shares of the total, the price, the fallbacks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError
from overwinter.units import Quantity, parse_quantity

if TYPE_CHECKING:
    from overwinter.config.groups.budget import BudgetConfig

_DIMENSIONS = ("energy", "carbon", "money", "time")
_JOINED = re.compile(r"\s*,\s*|\s+and\s+")
_SOFT = re.compile(r"(.*\S)\s+soft")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit on one quantity.

    Attributes:
        key: The configuration key of the limit, such as `budget.stages.train`.
        text: The value of that key.
        amount: The allowed amount, in base units.
        hard: Whether the limit stops the work; a soft limit only warns.
    """

    key: str
    text: str
    amount: Quantity
    hard: bool

    def quantity(self, value: float) -> Quantity:
        """Return ``value`` as a quantity in the limit's unit."""
        return Quantity(value=value, dimension=self.amount.dimension, unit=self.amount.unit)

    def __str__(self) -> str:
        # A message with 30 % alone would not show the amount that was exceeded.
        return f"{self.key}={self.text}" + (f" ({self.amount})" if "%" in self.text else "")


def read_limits(budget: BudgetConfig) -> tuple[tuple[Limit, ...], dict[str, tuple[Limit, ...]]]:
    """Return the limits on the total and on each stage, with shares converted to amounts.

    Raises:
        ConfigError: a text is not a limit, or a share refers to a total without a limit.
    """
    total = _limits("budget.total", budget.total, whole=None)
    stages = {name: _limits(f"budget.stages.{name}", text, whole=total) for name, text in budget.stages.items()}
    return total, {name: limits for name, limits in stages.items() if limits}


def read_price(budget: BudgetConfig) -> Quantity | None:
    """Return the price of a kilowatt-hour, if there is one.

    Raises:
        ConfigError: the price is not an amount of money.
    """
    if budget.price_per_kwh is None:
        return None
    return parse_quantity(budget.price_per_kwh, key="budget.price_per_kwh", dimensions=("money",))


def read_fallbacks(budget: BudgetConfig) -> tuple[tuple[str, ...], ...]:
    """Return the overrides of each fallback of the mode `degrade`.

    Raises:
        ConfigError: the mode is `degrade` without fallbacks, or a fallback is not a list of overrides.
    """
    if budget.mode == "degrade" and not budget.degrade:
        raise ConfigError("budget.mode=degrade needs budget.degrade, such as [train.epochs=10].")
    return tuple(_overrides(f"budget.degrade[{place}]", text) for place, text in enumerate(budget.degrade))


def _overrides(key: str, text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"{key}={text!r} cannot be read: {error}.") from None
    for word in words:
        name, equals, _ = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"{key}={text!r}: {word!r} is not an override. Write key=value, such as train.epochs=10.")
        if name.lstrip("+~").split(".")[0] == "budget":
            raise ConfigError(f"{key}={text!r} changes the budget. A fallback may change any other key.")
    if not words:
        raise ConfigError(f"{key} is empty. Write one or more overrides, such as train.epochs=10.")
    return words


def _limits(key: str, text: str | None, *, whole: Sequence[Limit] | None) -> tuple[Limit, ...]:
    if text is None:
        return ()
    limits: list[Limit] = []
    for part in _JOINED.split(text.strip()):
        limits += _limit(key, text, part, whole)
    seen: set[tuple[str, bool]] = set()
    for limit in limits:
        kind = (limit.amount.dimension, limit.hard)
        if kind in seen:
            raise ConfigError(f"{key}={text!r} limits {limit.amount.dimension} twice. Keep one, or end one in `soft`.")
        seen.add(kind)
    return tuple(limits)


def _limit(key: str, text: str, part: str, whole: Sequence[Limit] | None) -> list[Limit]:
    soft = _SOFT.fullmatch(part)
    dimensions = _DIMENSIONS if whole is None else (*_DIMENSIONS, "share")
    quantity = parse_quantity(soft[1] if soft else part, key=key, dimensions=dimensions)
    if quantity.dimension != "share":
        return [Limit(key=key, text=text, amount=quantity, hard=soft is None)]
    if quantity.value > 1:
        raise ConfigError(f"{key}={text!r} is too large. A share is at most 100 %.")
    if not whole:
        raise ConfigError(f"{key}={text!r} is a share of budget.total, which has no limit. Set budget.total.")
    return [
        Limit(key=key, text=text, amount=_share(each.amount, quantity.value), hard=each.hard and soft is None)
        for each in whole
    ]


def _share(amount: Quantity, share: float) -> Quantity:
    return Quantity(value=amount.value * share, dimension=amount.dimension, unit=amount.unit)
