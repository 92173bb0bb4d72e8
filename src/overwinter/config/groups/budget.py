"""The group `budget/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overwinter.config.limits import Limit, read_fallbacks, read_limits, read_price
from overwinter.config.settings import setting
from overwinter.errors import ConfigError, nearest
from overwinter.units import Quantity

if TYPE_CHECKING:
    from overwinter.config.groups import Config
    from overwinter.config.groups.supervision import Supervision

_ROUNDING = 1e-9
_PACED = ("energy", "carbon", "money")


@dataclass
class QualityConfig:
    """Limits on the quality of a model. Null sets no limit."""

    min_quality: float | None = setting(
        "worst allowed value of the task's headline measure: 0.9 of an accuracy, which may be higher; 25 of a "
        "perplexity, which may be lower"
    )
    max_quality_loss: float | None = setting(
        "largest loss of the headline measure against the dense model: 0.01 is one point, or 1 % of an error or a "
        "perplexity",
        at_least=0,
        at_most=1,
    )
    max_loss_increase: float | None = setting(
        "largest rise of the loss, which training lowers, against the dense model: 0.05 is 5 %", at_least=0
    )
    at_least: dict[str, float] = setting(
        "lower limits on figures of the chosen variant in comparison.json: {agreement_with_dense: 0.97}"
    )
    at_most: dict[str, float] = setting("upper limits on figures of the chosen variant: {calibration_error: 0.05}")


@dataclass
class PaybackConfig:
    """Limits on the break-even point of compression: the joules spent on it against cheaper responses."""

    stages: list[str] = setting("stages whose joules must be saved again by cheaper responses")
    responses: float | None = setting("maximum number of responses until break-even; null: no limit", above=0)
    days: float | None = setting("maximum days until break-even, at responses_per_day; null: no limit", above=0)
    responses_per_day: float | None = setting("expected responses per day", above=0)


@dataclass
class BudgetConfig:
    """Limits on costs and on quality.

    A limit is one or more quantities, joined by `and`: `2 kJ`, `0.5 Wh and 10 min`, `100 gCO2e`, `0.02 EUR`.
    A quantity that ends in `soft` only warns: `2 kJ and 1.5 kJ soft`. A stage can also take a share of every limit
    on the total: `30 %`.
    """

    total: str | None = setting("limit on all stages together; null: no limit")
    stages: dict[str, str | None] = setting("limit on each stage; their sum must not exceed the total")
    price_per_kwh: str | None = setting("price of a kilowatt-hour, such as 0.30 EUR; required for limits in money")
    mode: str = setting(
        "action when a limit is exceeded: stop, warn or degrade (`overwinter run` retries with the next entry of "
        "degrade; plain DVC stops)",
        choices=("stop", "warn", "degrade"),
    )
    degrade: list[str] = setting(
        "fallbacks for the mode degrade, in order, each one or more overrides: [train.epochs=20, train.epochs=10 "
        "sparsify=none]"
    )
    require_measured: bool = setting("fail a gate whose joules are modelled, not measured")
    measured_share: float = setting(
        "minimum share of joules from hardware counters for a figure to count as measured", at_least=0, at_most=1
    )
    quality: QualityConfig = setting(
        "limits on the quality of each stage's model; for evaluate, of the chosen variant",
        default_factory=QualityConfig,
    )
    net_saving: bool = setting(
        "require fewer joules per response than the dense model, with confidence intervals that do not overlap"
    )
    payback: PaybackConfig = setting(
        "limits on the break-even point of compression: joules spent on it against joules saved per response",
        default_factory=PaybackConfig,
    )


def check_budget(config: Config) -> None:
    """Check the group `budget/`, beyond ranges and choices.

    Raises:
        ConfigError: a wrong unit, a sum of stages above the total, an unknown stage, or another invalid value, with
            its key.
    """
    budget, stages = config.budget, list(config.pipeline.stages)
    _check_names("budget.stages", [name for name, text in budget.stages.items() if text is not None], stages)
    _check_names("budget.payback.stages", budget.payback.stages, stages)
    check_budget_values(budget)


def check_budget_values(budget: BudgetConfig) -> None:
    """Check everything in the group that does not depend on the pipeline's stages.

    Raises:
        ConfigError: the first invalid value, with its key.
    """
    price = read_price(budget)
    total, by_stage = read_limits(budget)
    for limit in [*total, *(each for limits in by_stage.values() for each in limits)]:
        _check_currency(limit, price)
    _check_sums(total, by_stage)
    read_fallbacks(budget)
    _check_payback(budget.payback)


def check_paced_budget(config: Config | Supervision) -> None:
    """Check that a budget is set if the power policy needs one.

    Raises:
        ConfigError: the budget limits neither joules, grams nor money.
    """
    if config.power.needs != "budget":
        return
    total, stages = read_limits(config.budget)
    limits = [*total, *(each for limits in stages.values() for each in limits)]
    if not any(limit.amount.dimension in _PACED for limit in limits):
        raise ConfigError(
            f"power.policy={config.power.policy} needs a budget: no limit on joules, grams or money is set. "
            "Set budget.total, such as budget.total='2 kWh'."
        )


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
                f"{named}: their sum, {together}, exceeds {whole.key}={whole.text}. Lower them, or raise the total."
            )


def _tightest(limits: Sequence[Limit], dimension: str) -> Limit | None:
    return min(
        (each for each in limits if each.amount.dimension == dimension),
        key=lambda each: each.amount.value,
        default=None,
    )


def _check_payback(payback: PaybackConfig) -> None:
    if payback.days is not None and payback.responses_per_day is None:
        raise ConfigError("budget.payback.days needs budget.payback.responses_per_day. Set the expected rate.")
    if (payback.days is not None or payback.responses is not None) and not payback.stages:
        raise ConfigError("budget.payback.stages is empty. Name the stages that compress the model.")
