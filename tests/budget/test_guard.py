"""The guard inside a stage: it stops what is, or will be, over budget, and nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import StageGuard
from overwinter.errors import RefusedError
from overwinter.ledger import Spent

NOTHING = Spent()


def guard(budget, spent_run: Spent = NOTHING, spent_stage: Spent = NOTHING, **values) -> StageGuard:
    return StageGuard(budget(**values), stage="train", spent_run=spent_run, spent_stage=spent_stage)


def stopped_at(
    watching: StageGuard, total: int, power_w=lambda second: 10.0, steps_per_s: int = 10, begun: int = 0
) -> int | None:
    """Run ``total`` steps against a meter that is read twice a second; return the step that was refused."""
    energy_j, reading = 0.0, (0.0, 0.0)
    for step in range(begun + 1, total + 1):
        seconds = (step - begun) / steps_per_s
        energy_j += power_w(seconds) / steps_per_s
        if seconds - reading[1] >= 0.5:
            reading = (energy_j, seconds)
        try:
            watching.check(reading[0], reading[0] / 1000, reading[1], step, total)
        except RefusedError:
            return step
    return None


def test_what_fits_is_let_through(budget):
    assert stopped_at(guard(budget, stages={"train": "1001 J"}), total=1000) is None


def test_on_course_to_exceed_it_is_stopped_early(budget):
    """1000 J are needed and 600 J allowed: known long before they are spent."""
    step = stopped_at(guard(budget, stages={"train": "600 J"}), total=1000)
    assert step is not None
    assert 100 <= step <= 150


def test_no_projection_before_the_warm_up(budget):
    watching = guard(budget, stages={"train": "600 J"})
    for step in range(1, 50):
        watching.check(energy_j=step * 2.0, carbon_g=0.0, duration_s=step * 10.0, done=step, total=1000)


def test_an_expensive_start_does_not_fool_it(budget):
    """Two seconds at 100 W, then 5 W: 690 J in all, although the first steps alone promise 10 kJ."""
    watching = guard(budget, stages={"train": "750 J"})
    assert stopped_at(watching, total=1000, power_w=lambda second: 100.0 if second < 2 else 5.0) is None


def test_a_short_burst_after_the_warm_up_does_not_fool_it(budget):
    """One second at 100 W promises 1.6 kJ; seen for longer, the work needs 670 J."""
    watching = guard(budget, stages={"train": "750 J"})
    for second, joules, done in ((0.5, 5.0, 10), (1.0, 20.0, 70), (2.0, 120.0, 130), (20.0, 250.0, 400)):
        assert watching.check(joules, 0.0, second, done, 1000) == ()


def test_just_over_is_not_stopped_on_a_guess_but_when_it_is_over(budget):
    step = stopped_at(guard(budget, stages={"train": "970 J"}), total=1000)
    assert step is not None
    assert 970 <= step <= 980


def test_at_the_end_the_gate_decides(budget):
    watching = guard(budget, stages={"train": "1 J"})
    assert watching.check(energy_j=100.0, carbon_g=0.0, duration_s=9.0, done=10, total=10) == ()


def test_earlier_joules_count(budget):
    earlier = Spent(energy_j=500.0)
    fits = guard(budget, spent_run=earlier, spent_stage=earlier, stages={"train": "1001 J"})
    assert stopped_at(fits, total=1000, begun=500) is None
    tight = guard(budget, spent_run=earlier, spent_stage=earlier, stages={"train": "900 J"})
    step = stopped_at(tight, total=1000, begun=500)
    assert step is not None
    assert 525 <= step <= 600


def test_the_total_counts_the_stages_before(budget):
    watching = guard(budget, spent_run=Spent(energy_j=400.0), total="1 kJ")
    with pytest.raises(
        RefusedError, match=r"train has spent 1.10 kJ, with the stages before it, over budget.total=1 kJ"
    ):
        watching.check(energy_j=700.0, carbon_g=0.0, duration_s=1.0, done=1, total=10)


def test_the_message_says_what_to_do(budget):
    watching = guard(budget, stages={"train": "1 kJ"})
    with pytest.raises(RefusedError, match=r"over budget.stages.train=1 kJ, at 1 of 10. Raise the limit and run again"):
        watching.check(energy_j=1001.0, carbon_g=0.0, duration_s=1.0, done=1, total=10)


def test_work_without_a_checkpoint_is_judged_only_by_its_spending(budget):
    """After a third of the steps, and 90 J of 100 J, the rest may be cheap; above 100 J it is over."""
    watching = guard(budget, stages={"train": "100 J"})
    for second in range(1, 91):
        assert watching.check(float(second), 0.0, float(second), done=second / 270, total=1, resumable=False) == ()
    with pytest.raises(RefusedError, match=r"has spent 101 J, over .* Raise the limit and run again: it starts over"):
        watching.check(101.0, 0.0, 101.0, done=0.5, total=1, resumable=False)


@pytest.mark.parametrize(
    ("limit", "reading"),
    [("10 s", (0.0, 0.0, 11.0)), ("1 gCO2e", (0.0, 1.1, 1.0)), ("0.30 EUR", (4e6, 0.0, 1.0))],
)
def test_every_dimension_is_watched(budget, limit: str, reading: tuple[float, float, float]):
    watching = guard(budget, stages={"train": limit}, price_per_kwh="0.30 EUR")
    with pytest.raises(RefusedError):
        watching.check(*reading, 1, 10)


def test_unknown_carbon_stops_nothing_but_the_rest_is_watched(budget):
    watching = guard(budget, stages={"train": "1 gCO2e and 10 J"})
    assert watching.check(energy_j=5.0, carbon_g=None, duration_s=1.0, done=1, total=10) == ()
    with pytest.raises(RefusedError):
        watching.check(energy_j=11.0, carbon_g=None, duration_s=2.0, done=2, total=10)


def test_soft_limits_and_the_mode_warn_say_it_once(budget):
    for values in ({"total": "1 J soft"}, {"total": "1 J", "mode": "warn"}):
        watching = guard(budget, **values)
        (warning,) = watching.check(energy_j=2.0, carbon_g=0.0, duration_s=1.0, done=1, total=10)
        assert "over budget.total" in warning
        assert watching.check(energy_j=3.0, carbon_g=0.0, duration_s=2.0, done=2, total=10) == ()


def test_the_mode_degrade_stops(budget):
    watching = guard(budget, total="1 J", mode="degrade", degrade=["train.epochs=1"])
    with pytest.raises(RefusedError):
        watching.check(energy_j=2.0, carbon_g=0.0, duration_s=1.0, done=1, total=10)


@given(st.floats(100, 10_000), st.floats(0.3, 3.0))
def test_steady_work_is_stopped_just_when_it_would_exceed(budget, limit_j: float, ratio: float):
    """Steady work that needs ``ratio`` times its limit: never stopped below 1, always above 1.1."""
    watching = guard(budget, stages={"train": f"{limit_j:.6f} J"})
    step = stopped_at(watching, total=1000, power_w=lambda second: limit_j * ratio / 100.0)
    if ratio < 0.999:
        assert step is None
    elif ratio > 1.1:
        assert step is not None
        assert step * ratio / 1000 <= 1.02  # hardly more than the limit was spent


def test_a_check_costs_microseconds(budget):
    watching = guard(budget, total="1 GJ and 1 d and 1 tCO2e", stages={"train": "1 GJ and 1 d"})
    steps = 20_000
    before_s = time.thread_time()
    for step in range(steps):
        watching.check(float(step), 0.0, float(step), step, steps)  # a new reading at every step: the dear case
    assert (time.thread_time() - before_s) / steps < 50e-6


def test_what_is_left_is_what_the_tightest_limits_leave(budget):
    """Grams apart from joules; money is the joules that it buys; time and other stages' limits are nothing to pace."""
    limits = {"total": "1 kJ, 1 gCO2e, 1 h", "stages": {"train": "0.0005 EUR", "evaluate": "1 J"}}
    watching = guard(
        budget,
        spent_run=Spent(energy_j=300.0, carbon_g=0.5),
        spent_stage=Spent(energy_j=100.0),
        price_per_kwh="3.6 EUR",  # a joule costs a millionth
        **limits,
    )
    assert watching.remaining(50.0, 0.25) == (pytest.approx(350.0), pytest.approx(0.25))
    assert watching.remaining(750.0, 0.25)[0] == pytest.approx(-350.0)
    assert guard(budget, stages={"train": "5 s"}).remaining(1.0, 1.0) == (None, None)
