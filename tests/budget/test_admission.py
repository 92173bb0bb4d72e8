"""A stage starts only if what is left may hold it; a plan holds or does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import Forecast, Range, admit, judge_plan
from overwinter.errors import RefusedError
from overwinter.ledger import Spent

NOTHING = Spent()


def of(stage: str, joules: float, **more: Range) -> Forecast:
    energy_j = Range(low=joules * 0.8, expected=joules, high=joules * 1.2)
    return Forecast(stage=stage, basis="exact", executions=3, energy_j=energy_j, **more)


def test_a_stage_that_fits_starts(budget):
    allowed = budget(total="1 kJ")
    assert admit(allowed, stage="train", forecast=of("train", 800), spent_run=NOTHING, spent_stage=NOTHING) == ()


def test_a_stage_that_needs_more_than_is_left_does_not_start(budget):
    allowed, spent = budget(total="1 kJ"), Spent(energy_j=300.0)
    with pytest.raises(RefusedError, match=r"train does not start.\n.*1.10 kJ, over budget.total=1 kJ; 700 J are left"):
        admit(allowed, stage="train", forecast=of("train", 800), spent_run=spent, spent_stage=NOTHING)


def test_what_it_resumes_need_not_be_spent_again(budget):
    allowed, spent = budget(total="1 kJ", stages={"train": "900 J"}), Spent(energy_j=600.0)
    assert admit(allowed, stage="train", forecast=of("train", 700), spent_run=spent, spent_stage=spent) == ()
    message = judge_plan(allowed, forecasts=[of("train", 700)], spent_run=spent, spent_stages={"train": spent})
    assert [reason.value for reason in message.reasons] == [700.0, 700.0]


def test_only_the_upper_end_warns(budget):
    allowed = budget(stages={"train": "900 J"})
    (warning,) = admit(allowed, stage="train", forecast=of("train", 800), spent_run=NOTHING, spent_stage=NOTHING)
    assert "budget.stages.train=900 J may be exceeded: train alone is expected to cost 800 J, at most 960 J" in warning


def test_a_rough_forecast_refuses_only_what_is_too_much_at_the_very_least(budget):
    rough = replace(of("train", 1200), basis="unfinished")  # 960 J at least
    with pytest.raises(RefusedError):
        admit(budget(total="950 J"), stage="train", forecast=rough, spent_run=NOTHING, spent_stage=NOTHING)
    (warning,) = admit(budget(total="970 J"), stage="train", forecast=rough, spent_run=NOTHING, spent_stage=NOTHING)
    assert "is expected to cost 1.20 kJ, at most 1.44 kJ" in warning


def test_an_unknown_forecast_starts_with_a_warning(budget):
    unknown = Forecast(stage="train", basis="unknown")
    (warning,) = admit(budget(total="1 kJ"), stage="train", forecast=unknown, spent_run=NOTHING, spent_stage=NOTHING)
    assert "no forecast of energy for train" in warning


def test_nothing_starts_where_nothing_is_left(budget):
    unknown, spent = Forecast(stage="train", basis="unknown"), Spent(energy_j=1000.0)
    with pytest.raises(RefusedError, match=r"Nothing is left of budget.total=1 kJ: 1.00 kJ are spent"):
        admit(budget(total="1 kJ"), stage="train", forecast=unknown, spent_run=spent, spent_stage=NOTHING)


def test_soft_limits_and_the_mode_warn_let_it_start(budget):
    for allowed in (budget(total="1 J soft"), budget(total="1 J", mode="warn")):
        warnings = admit(allowed, stage="train", forecast=of("train", 800), spent_run=NOTHING, spent_stage=NOTHING)
        assert "over budget.total" in warnings[0]


@pytest.mark.parametrize(
    ("limit", "more", "fits"),
    [
        ("10 min", {"duration_s": Range(low=1, expected=599, high=600)}, True),
        ("10 min", {"duration_s": Range(low=1, expected=601, high=900)}, False),
        ("5 gCO2e", {"carbon_g": Range(low=1, expected=6, high=7)}, False),
        ("0.30 EUR", {}, False),
        ("0.40 EUR", {}, True),
    ],
)
def test_every_dimension_is_held(budget, limit: str, more: dict[str, Range], fits: bool):
    allowed = budget(total=limit, price_per_kwh="0.30 EUR")
    message = judge_plan(allowed, forecasts=[of("train", 4e6, **more)], spent_run=NOTHING, spent_stages={})
    assert message.passed is fits


def test_a_plan_adds_its_stages_up(budget):
    allowed = budget(total="1 kJ", stages={"train": "700 J", "sparsify": "300 J"})
    both = [of("train", 600), of("sparsify", 250)]
    assert judge_plan(allowed, forecasts=both, spent_run=NOTHING, spent_stages={}).passed
    message = judge_plan(allowed, forecasts=both, spent_run=Spent(energy_j=200.0), spent_stages={})
    assert [(reason.limit, reason.ok) for reason in message.reasons] == [
        ("budget.stages.train", True),
        ("budget.stages.sparsify", True),
        ("budget.total", False),
    ]


def test_a_plan_names_what_it_cannot_forecast(budget):
    stages = [of("train", 600), Forecast(stage="sparsify", basis="unknown")]
    message = judge_plan(budget(total="1 kJ"), forecasts=stages, spent_run=NOTHING, spent_stages={})
    assert message.passed
    assert "no forecast of energy for sparsify" in message.warnings[0]


@given(st.floats(0, 2000), st.floats(0, 2000), st.floats(0, 1))
def test_a_stage_starts_just_when_it_fits(budget, needs_j: float, spent_j: float, share: float):
    allowed = budget(total="1 kJ")
    resumed_j = min(needs_j, spent_j * share)
    message = judge_plan(
        allowed,
        forecasts=[of("train", needs_j)],
        spent_run=Spent(energy_j=spent_j),
        spent_stages={"train": Spent(energy_j=resumed_j)},
    )
    end_j = spent_j + needs_j - resumed_j
    if abs(end_j - 1000) > 1e-6:
        assert message.passed == (end_j < 1000 and spent_j < 1000)


_figures = st.floats(1.0, 1e4)


@given(
    forecasts=st.lists(
        st.tuples(_figures, st.floats(1.0, 9.0), st.sampled_from(["exact", "scaled", "unknown"])),
        min_size=1,
        max_size=3,
    ),
    total_j=_figures,
    train_j=_figures,
    mode=st.sampled_from(["stop", "warn"]),
)
def test_of_one_limit_one_thing_is_reported(budget, forecasts, total_j, train_j, mode):
    """A plan says one of within, may be exceeded, over or unknown about a limit, in reasons and warnings together."""
    limit = min(total_j, train_j)
    allowed = budget(total=f"{total_j} J", stages={"train": f"{limit} J"}, mode=mode)
    stages = ("train", "sparsify", "quantize")
    made = [
        Forecast(stage=stage, basis=basis)
        if basis == "unknown"
        else Forecast(
            stage=stage, basis=basis, energy_j=Range(low=joules / factor, expected=joules, high=joules * factor)
        )
        for stage, (joules, factor, basis) in zip(stages, forecasts, strict=False)
    ]
    message = judge_plan(allowed, forecasts=made, spent_run=NOTHING, spent_stages={})
    high = {name: sum(each.energy_j.high for each in some if each.energy_j) for name, some in _by_limit(made).items()}
    for name, highest in high.items():
        texts = {*message.warnings, *(reason.message for reason in message.reasons)}
        (text,) = [text for text in texts if f"{name}=" in text]
        verdicts = [word for word in (", within ", " may be exceeded: ", ", over ", ": no forecast ") if word in text]
        assert len(verdicts) == 1
        unknown = any(each.energy_j is None for each in _by_limit(made)[name])
        (reason,) = [reason for reason in message.reasons if reason.limit == name]
        assert (verdicts == [", over "]) is not reason.ok
        assert (verdicts == [", within "]) is (highest <= reason.allowed and not unknown)
    assert all(warning in {reason.message for reason in message.reasons} for warning in message.warnings)


def _by_limit(forecasts):
    return {"budget.total": forecasts, "budget.stages.train": [each for each in forecasts if each.stage == "train"]}
