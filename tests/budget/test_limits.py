"""Reading the group `budget/`: limits with units, shares, sums; and every way of getting them wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from overwinter.budget import parse_budget
from overwinter.config.groups import Config
from overwinter.config.groups.budget import BudgetConfig, check_budget
from overwinter.errors import ConfigError
from overwinter.ledger import Spent

CONFIGS = Path(__file__).parents[2] / "configs" / "budget"


def test_the_default_limits_nothing(budget):
    read = budget()
    assert (read.total, dict(read.stages), read.price_per_j, read.fallbacks) == ((), {}, None, ())


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("2 kJ", [("energy", 2000.0, True)]),
        ("0.5Wh and 10 min", [("energy", 1800.0, True), ("time", 600.0, True)]),
        ("1 kWh, 100 gCO2e", [("energy", 3.6e6, True), ("carbon", 100.0, True)]),
        ("2 kJ and 1.5 kJ soft", [("energy", 2000.0, True), ("energy", 1500.0, False)]),
        ("0.02 EUR soft", [("money", 0.02, False)]),
    ],
)
def test_limits_are_read_in_base_units(budget, text: str, amounts: list[tuple[str, float, bool]]):
    limits = budget(total=text, price_per_kwh="0.30 EUR").total
    assert [(each.amount.dimension, each.amount.value, each.hard) for each in limits] == amounts


def test_a_share_is_of_every_limit_of_the_total(budget):
    limits = budget(total="2 kJ and 10 min soft", stages={"train": "30 %"}).limits_of("train")
    assert [(each.amount.value, each.hard) for each in limits] == [
        (pytest.approx(600.0), True),
        (pytest.approx(180.0), False),
    ]
    soft = budget(total="2 kJ and 10 min", stages={"train": "30 % soft"}).limits_of("train")
    assert [each.hard for each in soft] == [False, False]
    assert str(limits[0]) == "budget.stages.train=30 % (600 J)"


def test_money_is_joules_at_a_price(budget):
    read = budget(total="0.02 EUR", price_per_kwh="0.30 EUR")
    assert read.currency == "EUR"
    assert read.amount("money", Spent(energy_j=3.6e6)) == pytest.approx(0.30)
    assert budget().amount("money", Spent(energy_j=1.0)) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"total": "2 kW"}, r"budget.total='2 kW' has the wrong unit 'kW'"),
        ({"total": "2 kjoule"}, r"budget.total='2 kjoule' has the wrong unit"),
        ({"total": "lots"}, r"budget.total='lots' is not a quantity"),
        ({"total": ""}, r"budget.total='' is not a quantity"),
        ({"total": "-2 kJ"}, r"budget.total='-2 kJ' must be a finite amount"),
        ({"total": "30 %"}, r"budget.total='30 %' has the wrong unit '%'"),
        ({"total": "2 kJ and 3 kJ"}, r"limits energy twice"),
        (
            {"stages": {"train": "30 %"}},
            r"budget.stages.train='30 %' is a share of budget.total, which has no limit",
        ),
        (
            {"total": "1 kJ", "stages": {"train": "101 %"}},
            r"budget.stages.train='101 %' is too large",
        ),
        (
            {"total": "1 kJ", "stages": {"train": "60 %", "sparsify": "50 %"}},
            r"train=60 %, budget.stages.sparsify=50 %: their sum, 1.10 kJ, exceeds budget.total=1 kJ",
        ),
        (
            {"total": "1 kJ and 10 min", "stages": {"train": "400 J", "quantize": "700 J"}},
            r"budget.stages.train=400 J, budget.stages.quantize=700 J: their sum, 1.10 kJ",
        ),
        ({"total": "1 EUR"}, r"budget.total='1 EUR' needs budget.price_per_kwh"),
        ({"total": "1 EUR", "price_per_kwh": "0.3 USD"}, r"differ in currency"),
        ({"price_per_kwh": "0.3 kWh"}, r"budget.price_per_kwh='0.3 kWh' has the wrong unit"),
        ({"mode": "stpo"}, r"budget.mode='stpo' is unknown.*Did you mean 'stop'"),
        ({"mode": "degrade"}, r"needs budget.degrade"),
        ({"degrade": ["train.epochs"]}, r"budget.degrade\[0\]='train.epochs': 'train.epochs' is not an override"),
        ({"degrade": ["a=1", "budget.total=null"]}, r"budget.degrade\[1\]=.*changes the budget\."),
        ({"degrade": ["  "]}, r"budget.degrade\[0\] is empty"),
        ({"degrade": ["a='1"]}, r"cannot be read"),
        ({"measured_share": 1.5}, r"budget.measured_share=1.5 must be at least 0 and at most 1"),
        ({"quality": {"max_quality_loss": 2}}, r"budget.quality.max_quality_loss=2.* must be at least 0 and at most 1"),
        ({"quality": {"max_loss_increase": -1}}, r"budget.quality.max_loss_increase=-1.* must be at least 0"),
        (
            {"quality": {"at_most": {"calibration_error": float("inf")}}},
            r"at_most.calibration_error=inf must be finite",
        ),
        ({"payback": {"responses": 0}}, r"budget.payback.responses=0.* must be above 0"),
        ({"payback": {"days": 30}}, r"needs budget.payback.responses_per_day"),
        ({"payback": {"responses": 9, "stages": []}}, r"budget.payback.stages is empty"),
    ],
)
def test_what_is_wrong_is_named(config, values: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        parse_budget(config(**values))


def test_not_a_number_is_no_limit(config):
    for name in ("min_quality", "max_quality_loss", "max_loss_increase"):
        with pytest.raises(ConfigError, match=name):
            parse_budget(config(quality={name: float("nan")}))


@given(st.lists(st.integers(0, 100), min_size=1, max_size=5))
def test_shares_are_refused_just_when_they_are_more_than_the_whole(config, shares: list[int]):
    stages = {f"stage{place}": f"{share} %" for place, share in enumerate(shares)}
    if sum(shares) > 100:
        with pytest.raises(ConfigError, match=r"exceeds budget\.total"):
            parse_budget(config(total="7.7 kJ and 3 min", stages=stages))
    else:
        limits = parse_budget(config(total="7.7 kJ and 3 min", stages=stages)).stages
        assert sum(each[0].amount.value for each in limits.values()) == pytest.approx(77 * sum(shares))


def test_fallbacks_are_lists_of_overrides(budget):
    read = budget(mode="degrade", degrade=["train.epochs=20", "train.epochs=10 'model.name=a b'"])
    assert read.fallbacks == (("train.epochs=20",), ("train.epochs=10", "model.name=a b"))


def test_stages_that_do_not_exist_are_found(config):
    def check(**values: object) -> None:
        whole = Config()
        whole.pipeline.stages = {"train": None, "sparsify": None, "quantize": None}  # type: ignore[dict-item]
        whole.budget = config(**values)
        check_budget(whole)

    check(stages={"train": "1 kJ"})
    with pytest.raises(ConfigError, match=r"budget.stages: there is no stage 'trian'.*Did you mean 'train'"):
        check(stages={"trian": "1 kJ"})
    with pytest.raises(ConfigError, match=r"budget.payback.stages: there is no stage 'prune'"):
        check(payback={"stages": ["prune"]})


@pytest.mark.parametrize("option", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_ready_made_option_is_valid(option: str):
    own = OmegaConf.load(CONFIGS / f"{option}.yaml")
    assert own.pop("defaults", ["default", "_self_"]) == ["default", "_self_"]
    merged = OmegaConf.merge(OmegaConf.structured(BudgetConfig), OmegaConf.load(CONFIGS / "default.yaml"), own)
    made = OmegaConf.to_object(merged)
    assert isinstance(made, BudgetConfig)
    parse_budget(made)


def test_the_budget_loads_neither_torch_nor_rich_nor_sqlite():
    heavy = "{'torch', 'rich', 'sqlite3', 'dvc', 'hydra'}"
    code = f"import sys, overwinter.budget; print({heavy} & set(sys.modules) or 'lean')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "lean"
