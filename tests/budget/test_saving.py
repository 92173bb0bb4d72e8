"""Net saving and payback: does compression pay?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import judge


@pytest.fixture(scope="session")
def gate(budget, energy, evaluation):
    def judged(dense, chosen, **values):
        spent = {
            "train": energy(energy_j=5000.0),
            "sparsify": energy(energy_j=60.0),
            "quantize": energy(energy_j=40.0),
        }
        compared = evaluation(dense, chosen)
        return judge(budget(**values), stage="evaluate", energy={**spent, "evaluate": energy()}, evaluation=compared)

    return judged


def test_a_saving_beyond_the_interval_passes(gate):
    verdict = gate((1.0, 0.9, 1.1), (0.5, 0.4, 0.6), net_saving=True)
    assert verdict.passed
    assert verdict.reasons[0].value == pytest.approx(0.3)


@pytest.mark.parametrize("chosen", [(0.95, 0.85, 1.05), (1.2, 1.15, 1.25), (0.8, 0.7, 0.9), (0.5, 0.0, 1.0)])
def test_no_saving_beyond_the_interval_is_refused(gate, chosen):
    verdict = gate((1.0, 0.9, 1.1), chosen, net_saving=True)
    assert not verdict.passed
    assert verdict.reasons[0].limit == "budget.net_saving"


def test_a_stage_without_both_variants_is_not_judged_by_saving(budget, energy):
    saving = budget(net_saving=True, payback={"responses": 1})
    assert judge(saving, stage="train", energy={"train": energy()}).reasons == ()


@pytest.mark.parametrize(
    ("payback", "passed"),
    [
        ({"responses": 200}, True),  # 100 J at 0.5 J a response
        ({"responses": 199}, False),
        ({"days": 2, "responses_per_day": 100}, True),
        ({"days": 1, "responses_per_day": 199}, False),
        ({"responses": 1000, "days": 1, "responses_per_day": 10}, False),
    ],
)
def test_the_joules_of_compressing_are_earned_back_in_time_or_not(gate, payback, passed: bool):
    verdict = gate((1.0, 1.0, 1.0), (0.5, 0.5, 0.5), payback=payback)
    assert verdict.passed is passed
    rate = payback.get("responses_per_day", 1)
    by_limit = {"budget.payback.responses": 200.0, "budget.payback.days": 200.0 / rate}
    assert {reason.limit: reason.value for reason in verdict.reasons}.items() <= by_limit.items()
    assert "100 J spent on compressing are earned back after" in verdict.reasons[0].message


def test_which_stages_have_to_be_earned_back_is_declared(gate):
    verdict = gate((1.0,), (0.5,), payback={"responses": 10**6, "stages": ["train", "sparsify", "quantize"]})
    assert verdict.reasons[0].value == 10_200


def test_what_saves_nothing_is_never_earned_back(gate):
    for chosen in ((1.0,), (2.0,)):
        verdict = gate((1.0,), chosen, payback={"responses": 10**15})
        assert not verdict.passed
        assert verdict.reasons[0].value is None
        assert "never earned back" in verdict.refusal()


def test_a_doubtful_payback_passes_with_a_warning(gate):
    late = gate((1.0, 0.9, 1.1), (0.5, 0.4, 0.6), payback={"responses": 250})
    never = gate((1.0, 0.5, 1.5), (0.5, 0.1, 0.9), payback={"responses": 250})
    assert late.passed
    assert never.passed
    assert "far end of the interval, the joules are earned back after 334 responses" in late.warnings[0]
    assert "earned back never" in never.warnings[0]


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(1, 10**12))
def test_payback_is_just_when_the_saving_per_response_covers_the_joules(
    gate, dense_j: float, chosen_j: float, responses: int
):
    passed = gate((dense_j,), (chosen_j,), payback={"responses": responses}).passed
    saved_j = (dense_j - chosen_j) * responses
    if abs(saved_j - 100.0) > 1e-6 * max(100.0, dense_j * responses):
        assert passed == (saved_j > 100.0)


def test_joules_per_response_that_were_modelled_make_the_verdict_modelled(gate):
    measured, modelled = (1.0, 0.9, 1.1, True), (0.5, 0.4, 0.6, False)
    assert not gate(measured, (0.5, 0.4, 0.6, True), net_saving=True).modelled
    verdict = gate(measured, modelled, net_saving=True)
    assert verdict.passed
    assert verdict.modelled
    assert "Judged on modelled joules" in verdict.warnings[0]
    assert not gate(measured, modelled, net_saving=True, require_measured=True).passed
    assert gate(measured, modelled, require_measured=True).passed  # the joules per response were not limited
