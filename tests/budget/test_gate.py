"""The gate: cost to produce against limits, on measured figures or on modelled ones that say so."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import judge


def test_without_limits_everything_passes(budget, energy):
    verdict = judge(budget(), stage="train", energy={"train": energy()})
    assert verdict.passed
    assert verdict.reasons == ()
    assert verdict.warnings == ()
    assert not verdict.modelled
    assert verdict.refusal() == ""


@pytest.mark.parametrize(
    ("limit", "figures", "passed"),
    [
        ("100 J", {"energy_j": 100.0}, True),
        ("99 J", {"energy_j": 100.0}, False),
        ("10 s", {"duration_s": 10.0}, True),
        ("9 s", {"duration_s": 10.0}, False),
        ("1 gCO2e", {"carbon_g": 1.0}, True),
        ("1 gCO2e", {"carbon_g": 1.1}, False),
        ("0.3 EUR", {"energy_j": 3.6e6}, True),
        ("0.3 EUR", {"energy_j": 3.7e6}, False),
        ("1 kJ and 9 s", {"duration_s": 10.0}, False),
    ],
)
def test_a_limit_on_a_stage_holds_or_does_not(budget, energy, limit: str, figures: dict[str, float], passed: bool):
    allowed = budget(stages={"train": limit}, price_per_kwh="0.30 EUR")
    verdict = judge(allowed, stage="train", energy={"train": energy(**figures)})
    assert verdict.passed is passed
    assert ("Raise the limit" in verdict.refusal()) is not passed


def test_the_total_counts_all_earlier_stages(budget, energy):
    both = {"train": energy(energy_j=700.0), "sparsify": energy(energy_j=400.0)}
    verdict = judge(budget(total="1 kJ"), stage="sparsify", energy=both)
    assert not verdict.passed
    (reason,) = verdict.reasons
    assert (reason.limit, reason.value, reason.allowed, reason.unit) == ("budget.total", 1100.0, 1000.0, "J")
    assert "all stages so far cost 1.10 kJ, over budget.total=1 kJ" in verdict.refusal()


def test_a_limit_of_another_stage_does_not_matter(budget, energy):
    both = {"train": energy(energy_j=700.0), "sparsify": energy(energy_j=400.0)}
    assert judge(budget(stages={"train": "1 J"}), stage="sparsify", energy=both).passed


def test_soft_limits_and_the_mode_warn_only_warn(budget, energy):
    for allowed in (budget(total="1 J soft"), budget(total="1 J", mode="warn")):
        verdict = judge(allowed, stage="train", energy={"train": energy()})
        assert verdict.passed
        assert not verdict.reasons[0].ok
        assert "over budget.total" in verdict.warnings[0]


def test_degrade_does_not_pass(budget, energy):
    allowed = budget(total="1 J", mode="degrade", degrade=["train.epochs=1"])
    verdict = judge(allowed, stage="train", energy={"train": energy()})
    assert (verdict.passed, verdict.mode) == (False, "degrade")


def test_unknown_carbon_is_not_zero_carbon(budget, energy):
    both = {"train": energy(carbon_g=None), "sparsify": energy()}
    verdict = judge(budget(total="1 kgCO2e"), stage="sparsify", energy=both)
    assert not verdict.passed
    assert verdict.reasons[0].value is None
    assert "carbon is unknown" in verdict.refusal()


def test_modelled_figures_pass_and_say_so(budget, energy):
    verdict = judge(budget(total="1 kJ"), stage="train", energy={"train": energy(measured_fraction=0.0)})
    assert verdict.passed
    assert verdict.modelled
    assert "Judged on modelled joules: counters measured 0%" in verdict.warnings[0]


def test_modelled_figures_do_not_pass_where_measured_ones_are_required(budget, energy):
    allowed = budget(require_measured=True)
    verdict = judge(allowed, stage="train", energy={"train": energy(measured_fraction=0.85)})
    assert not verdict.passed
    assert "counters measured 85% of the joules, less than budget.measured_share=0.9" in verdict.refusal()
    assert judge(allowed, stage="train", energy={"train": energy(measured_fraction=0.95)}).passed


def test_a_modelled_earlier_stage_makes_the_total_modelled(budget, energy):
    both = {"train": energy(energy_j=900.0, measured_fraction=0.0), "sparsify": energy()}
    assert judge(budget(total="2 kJ"), stage="sparsify", energy=both).modelled
    assert not judge(budget(), stage="sparsify", energy=both).modelled


def test_a_limit_that_holds_only_within_the_uncertainty_warns(budget, energy):
    verdict = judge(budget(total="102 J"), stage="train", energy={"train": energy(uncertainty_j=5.0)})
    assert verdict.passed
    assert "holds only within the uncertainty: 100 J ± 5 J" in verdict.warnings[0]


def test_the_verdict_is_json(budget, energy):
    verdict = judge(budget(total="1 J and 1 gCO2e"), stage="train", energy={"train": energy(carbon_g=None)})
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["passed"] is False
    assert [reason["value"] for reason in document["reasons"]] == [100.0, None]


_costs = st.lists(st.floats(0, 1e9), min_size=1, max_size=5)


@given(_costs, st.integers(1, 10**9))
def test_raising_a_limit_never_turns_a_pass_into_a_refusal(budget, energy, costs_j: list[float], limit_j: int):
    spent = {f"stage{place}": energy(energy_j=cost_j) for place, cost_j in enumerate(costs_j)}
    stage = list(spent)[-1]
    tight = judge(budget(total=f"{limit_j} J"), stage=stage, energy=spent)
    wide = judge(budget(total=f"{limit_j + 1} J"), stage=stage, energy=spent)
    assert wide.passed or not tight.passed
    assert tight.passed == (sum(costs_j) <= limit_j)
