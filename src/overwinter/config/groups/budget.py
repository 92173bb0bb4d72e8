"""The group `budget/`."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class QualityConfig:
    """How good a model has to be. Null sets no limit.

    Attributes:
        min_accuracy: least accuracy, 0 to 1, of the model a stage leaves.
        max_accuracy_loss: how much accuracy it may lose against the dense model (0.01: one point).
        max_loss_increase: how much the loss, or the perplexity, may rise against the dense model's (0.05: 5
            %).
        at_least: name -> least value of any other figure of the chosen variant in evaluate's comparison.json.
        at_most: the same, as an upper limit.
    """

    min_accuracy: float | None = MISSING
    max_accuracy_loss: float | None = MISSING
    max_loss_increase: float | None = MISSING
    at_least: dict[str, float] = MISSING
    at_most: dict[str, float] = MISSING


@dataclass
class PaybackConfig:
    """When the joules spent on compressing must be earned back by cheaper answers. Null sets no limit.

    Attributes:
        stages: whose joules have to be earned back.
        answers: within how many answers.
        days: within how many days, at `answers_per_day`.
        answers_per_day: the rate expected in use.
    """

    stages: list[str] = MISSING
    answers: float | None = MISSING
    days: float | None = MISSING
    answers_per_day: float | None = MISSING


@dataclass
class BudgetConfig:
    """What may be spent, and what has to come out of it.

    A limit is one or more quantities, joined by `and`: `2 kJ`, `0.5 Wh and 10 min`, `100 gCO2e`, `0.02 EUR`.
    One that ends in `soft` only warns: `2 kJ and 1.5 kJ soft`. A stage may also have a share of every limit
    of the total: `30 %`.

    Attributes:
        total: limit on all stages together; null for none.
        stages: limit per stage; null for none.
        price_per_kwh: such as `0.30 EUR`; needed for limits in money.
        mode: what a broken limit does: `stop`, `warn`, or `degrade` (`overwinter run` falls back to the next
            entry of `degrade`; plain DVC stops).
        degrade: the fallbacks, in order; each is one or more overrides, such as `train.epochs=10
            sparsify=none`.
        require_measured: refuse to pass a gate on modelled figures.
        measured_share: from which share of joules measured by counters a figure counts as measured.
        quality: how good the models have to be.
        net_saving: the chosen model must use fewer joules per answer than the dense one, beyond the
            confidence interval.
        payback: when the joules spent on compressing must be earned back.
    """

    total: str | None = MISSING
    stages: dict[str, str | None] = MISSING
    price_per_kwh: str | None = MISSING
    mode: str = MISSING
    degrade: list[str] = MISSING
    require_measured: bool = MISSING
    measured_share: float = MISSING
    quality: QualityConfig = field(default_factory=QualityConfig)
    net_saving: bool = MISSING
    payback: PaybackConfig = field(default_factory=PaybackConfig)
