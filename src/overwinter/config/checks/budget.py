"""Reading and checking of the group `budget/`: limits with their units, shares, sums, names of stages."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from overwinter.config.groups import Config
from overwinter.config.groups.budget import BudgetConfig, PaybackConfig, QualityConfig
from overwinter.errors import ConfigError, nearest
from overwinter.units import Quantity, parse_quantity

MODES = ("stop", "warn", "degrade")
_DIMENSIONS = ("energy", "carbon", "money", "time")
_JOINED = re.compile(r"\s*,\s*|\s+and\s+")
_SOFT = re.compile(r"(.*\S)\s+soft")
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit on one quantity.

    Attributes:
        key: the configuration key it stands at, such as `budget.stages.train`.
        text: what stands there.
        amount: what is allowed, in base units.
        hard: a soft one only warns.
    """

    key: str
    text: str
    amount: Quantity
    hard: bool

    def quantity(self, value: float) -> Quantity:
        """Return ``value`` as a quantity of the limit's kind."""
        return Quantity(value=value, dimension=self.amount.dimension, unit=self.amount.unit)

    def __str__(self) -> str:
        # A share says its own amount, since 30 % alone tells nobody what was exceeded.
        return f"{self.key}={self.text}" + (f" ({self.amount})" if "%" in self.text else "")


def check_budget(config: Config) -> None:
    """Check the group `budget/` of a typed configuration.

    Raises:
        ConfigError: a wrong unit, a sum of stages above the total, an unknown stage, or any other value that
        cannot
            be used, with its key.
    """
    budget, stages = config.budget, list(config.pipeline.stages)
    _check_names("budget.stages", [name for name, text in budget.stages.items() if text is not None], stages)
    _check_names("budget.payback.stages", budget.payback.stages, stages)
    check_budget_values(budget)


def check_budget_values(budget: BudgetConfig) -> None:
    """Check all of the group that can be checked without the pipeline's stages.

    Raises:
        ConfigError: the first value that cannot be used, with its key.
    """
    price = read_price(budget)
    total, by_stage = read_limits(budget)
    for limit in [*total, *(each for limits in by_stage.values() for each in limits)]:
        _check_currency(limit, price)
    _check_sums(total, by_stage)
    read_fallbacks(budget)
    if not 0 <= budget.measured_share <= 1:
        raise ConfigError(f"budget.measured_share={budget.measured_share} must be between 0 and 1.")
    _check_quality(budget.quality)
    _check_payback(budget.payback)


def read_limits(budget: BudgetConfig) -> tuple[tuple[Limit, ...], dict[str, tuple[Limit, ...]]]:
    """Return the limits on the total, and per stage, with shares turned into amounts.

    Raises:
        ConfigError: a text that is no limit, or a share of a total that has no limit.
    """
    total = _limits("budget.total", budget.total, whole=None)
    stages = {name: _limits(f"budget.stages.{name}", text, whole=total) for name, text in budget.stages.items()}
    return total, {name: limits for name, limits in stages.items() if limits}


def read_price(budget: BudgetConfig) -> Quantity | None:
    """Return the price of a kilowatt-hour, if there is one.

    Raises:
        ConfigError: it is no amount of money.
    """
    if budget.price_per_kwh is None:
        return None
    return parse_quantity(budget.price_per_kwh, key="budget.price_per_kwh", dimensions=("money",))


def read_fallbacks(budget: BudgetConfig) -> tuple[tuple[str, ...], ...]:
    """Return the overrides of each fallback of the mode `degrade`.

    Raises:
        ConfigError: an unknown mode, `degrade` without fallbacks, or a fallback that is no list of overrides.
    """
    if budget.mode not in MODES:
        raise ConfigError(
            f"budget.mode={budget.mode!r} is unknown. Allowed: {', '.join(MODES)}.{nearest(budget.mode, MODES)}"
        )
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
            raise ConfigError(f"{key}={text!r}: {word!r} is no override. Write key=value, such as train.epochs=10.")
        if name.lstrip("+~").split(".")[0] == "budget":
            raise ConfigError(f"{key}={text!r} changes the budget itself. A fallback may change anything else.")
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
        raise ConfigError(f"{key}={text!r} is more than the whole. A share is at most 100 %.")
    if not whole:
        raise ConfigError(f"{key}={text!r} is a share of budget.total, which has no limit. Set budget.total.")
    return [
        Limit(key=key, text=text, amount=_share(each.amount, quantity.value), hard=each.hard and soft is None)
        for each in whole
    ]


def _share(amount: Quantity, share: float) -> Quantity:
    return Quantity(value=amount.value * share, dimension=amount.dimension, unit=amount.unit)


def _check_names(key: str, names: Iterable[str], stages: list[str]) -> None:
    for name in names:
        if name not in stages:
            raise ConfigError(f"{key}: there is no stage {name!r}. Stages: {', '.join(stages)}.{nearest(name, stages)}")


def _check_currency(limit: Limit, price: Quantity | None) -> None:
    if limit.amount.dimension != "money":
        return
    if price is None:
        raise ConfigError(f"{limit.key}={limit.text!r} needs budget.price_per_kwh. Set it, such as '0.30 EUR'.")
    if price.unit != limit.amount.unit:
        raise ConfigError(
            f"{limit.key}={limit.text!r} and budget.price_per_kwh={str(price)!r} differ in currency. Use one."
        )


def _check_sums(total: Sequence[Limit], by_stage: Mapping[str, Sequence[Limit]]) -> None:
    for whole in total:
        parts = [limit for limits in by_stage.values() if (limit := _tightest(limits, whole.amount.dimension))]
        amount = sum(part.amount.value for part in parts)
        if amount > whole.amount.value * (1 + _ROUNDING):
            together = Quantity(value=amount, dimension=whole.amount.dimension, unit=whole.amount.unit)
            named = ", ".join(f"{part.key}={part.text}" for part in parts)
            raise ConfigError(
                f"{named}: together {together}, more than {whole.key}={whole.text}. Lower them, or raise the total."
            )


def _tightest(limits: Sequence[Limit], dimension: str) -> Limit | None:
    return min(
        (each for each in limits if each.amount.dimension == dimension),
        key=lambda each: each.amount.value,
        default=None,
    )


def _check_quality(quality: QualityConfig) -> None:
    for name in ("min_accuracy", "max_accuracy_loss"):
        value = getattr(quality, name)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"budget.quality.{name}={value} must be between 0 and 1 (0.01 is one point).")
    if quality.max_loss_increase is not None and not quality.max_loss_increase >= 0:
        raise ConfigError(
            f"budget.quality.max_loss_increase={quality.max_loss_increase} must be 0 or more (0.05 is 5 %)."
        )
    for key in ("at_least", "at_most"):
        for name, value in getattr(quality, key).items():
            if not math.isfinite(value):
                raise ConfigError(f"budget.quality.{key}.{name}={value} is no limit.")


def _check_payback(payback: PaybackConfig) -> None:
    for name in ("answers", "days", "answers_per_day"):
        value = getattr(payback, name)
        if value is not None and not value > 0:
            raise ConfigError(f"budget.payback.{name}={value} must be above 0.")
    if payback.days is not None and payback.answers_per_day is None:
        raise ConfigError("budget.payback.days needs budget.payback.answers_per_day, the rate expected in use.")
    if (payback.days is not None or payback.answers is not None) and not payback.stages:
        raise ConfigError("budget.payback.stages is empty. Name the stages whose joules have to be earned back.")
