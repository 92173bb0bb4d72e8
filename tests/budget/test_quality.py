"""Quality at a gate, against the dense model."""

from __future__ import annotations

import pytest

from overwinter.budget import ModelFigures, judge
from overwinter.tasks import Measure

ACCURACY = Measure(name="accuracy")
PERPLEXITY = Measure(name="perplexity", higher_is_better=False, relative=True)
R2 = Measure(name="r2", share=False)


@pytest.fixture
def gate(budget, energy):
    def judged(quality, figures, dense=None, evaluation=None, measure=ACCURACY, **more):
        made = budget(quality=quality, **more)
        return judge(
            made,
            stage="sparsify",
            energy={"sparsify": energy()},
            figures=ModelFigures(find_headline=lambda: measure, model=figures, dense=dense or {}),
            evaluation=evaluation,
        )

    return judged


@pytest.mark.parametrize(
    ("quality", "metrics", "dense", "passed"),
    [
        ({"min_quality": 0.9}, {"accuracy": 0.9}, None, True),
        ({"min_quality": 0.9}, {"accuracy": 0.89}, None, False),
        ({"max_quality_loss": 0.01}, {"accuracy": 0.97}, {"accuracy": 0.98}, True),
        ({"max_quality_loss": 0.01}, {"accuracy": 0.96}, {"accuracy": 0.98}, False),
        ({"max_quality_loss": 0.0}, {"accuracy": 0.99}, {"accuracy": 0.98}, True),
        ({"max_loss_increase": 0.1}, {"loss": 1.1}, {"loss": 1.0}, True),
        ({"max_loss_increase": 0.1}, {"loss": 1.2}, {"loss": 1.0}, False),
        ({"max_loss_increase": 0.1}, {"loss": 0.0}, {"loss": 0.0}, True),
    ],
)
def test_a_stage_is_judged_by_what_it_reports(gate, quality, metrics, dense, passed: bool):
    verdict = gate(quality, metrics, dense)
    assert verdict.passed is passed
    assert len(verdict.reasons) == 1
    assert ("Compress less" in verdict.refusal()) is not passed


@pytest.mark.parametrize(
    ("measure", "quality", "value", "dense", "passed", "words"),
    [
        (PERPLEXITY, {"max_quality_loss": 0.02}, 20.3, 20.0, True, "dense 20.0: 1.50 % worse"),
        (PERPLEXITY, {"max_quality_loss": 0.02}, 20.5, 20.0, False, "perplexity 20.5 (less is better), dense 20.0"),
        (PERPLEXITY, {"max_quality_loss": 0.02}, 19.0, 20.0, True, "5.00 % better"),
        (PERPLEXITY, {"max_quality_loss": 0.02}, 20.0, 20.0, True, "no difference"),
        (PERPLEXITY, {"min_quality": 25}, 24.0, 20.0, True, "perplexity 24.0 (less is better), within"),
        (PERPLEXITY, {"min_quality": 25}, 26.0, 20.0, False, "violates budget.quality.min_quality=25"),
        (R2, {"min_quality": 0.9}, 0.981, 0.99, True, "R2 0.981, within"),
        (R2, {"max_quality_loss": 0.005}, 0.981, 0.99, False, "R2 0.981, dense 0.990: 0.009 worse"),
    ],
)
def test_the_headline_has_its_own_direction_and_unit(gate, measure, quality, value, dense, passed, words):
    verdict = gate(quality, {measure.name: value}, {measure.name: dense}, measure=measure)
    assert verdict.passed is passed
    assert words in verdict.reasons[0].message


def test_a_stage_that_reports_no_quality_is_not_judged_by_it(gate):
    assert gate({"max_quality_loss": 0.01}, {"steps": 10}, {"accuracy": 0.9}).reasons == ()


def test_one_point_lost_is_one_point_whatever_the_rounding(gate):
    assert gate({"max_quality_loss": 0.01}, {"accuracy": 0.97}, {"accuracy": 0.98}).passed  # 0.98 - 0.97 > 0.01


def test_at_the_end_the_chosen_variant_is_judged_against_the_dense_one(gate, evaluation):
    verdict = gate({"max_quality_loss": 0.01}, {"accuracy": 0.95}, {"accuracy": 0.98}, evaluation())
    assert not verdict.passed
    assert "accuracy 95.00 %, dense 98.00 %: 3.00 points worse" in verdict.refusal()


@pytest.mark.parametrize("quality", [{"min_quality": 0.9}, {"max_quality_loss": 0.01}, {"max_loss_increase": 0.1}])
def test_at_the_end_a_missing_figure_is_no_pass(gate, evaluation, quality):
    verdict = gate(quality, {"size_bytes": 1}, {"size_bytes": 1}, evaluation())
    assert not verdict.passed
    assert verdict.reasons[0].value is None


@pytest.mark.parametrize(
    ("quality", "passed"),
    [
        ({"at_least": {"agreement_with_dense": 0.97}}, True),
        ({"at_least": {"agreement_with_dense": 0.98}}, False),
        ({"at_most": {"calibration_error": 0.04}}, True),
        ({"at_most": {"calibration_error": 0.03}}, False),
        ({"at_least": {"recall_of_sevens": 0.1}}, False),
        ({"at_least": {"worst_class": 0.1}}, False),
    ],
)
def test_any_figure_of_the_chosen_variant_can_have_a_limit(gate, evaluation, quality, passed: bool):
    chosen = {"agreement_with_dense": 0.97, "calibration_error": 0.04, "worst_class": "seven"}
    verdict = gate(quality, chosen, {}, evaluation())
    assert verdict.passed is passed
    (kind, limits) = next(iter(quality.items()))
    assert verdict.reasons[0].limit == f"budget.quality.{kind}.{next(iter(limits))}"


def test_an_earlier_stage_has_no_such_figure_and_is_not_judged_by_it(gate):
    assert gate({"at_least": {"agreement_with_dense": 0.97}}, {"accuracy": 0.9}).reasons == ()


def test_the_mode_warn_lets_it_through(gate):
    verdict = gate({"min_quality": 0.9}, {"accuracy": 0.5}, mode="warn")
    assert verdict.passed
    assert "accuracy 50.00 %" in verdict.warnings[0]


@pytest.mark.parametrize(("reached", "passed"), [(True, True), (False, False), (None, True)])
def test_a_training_that_missed_its_target_is_refused(gate, reached, passed: bool):
    known = {} if reached is None else {"to": {"accuracy": 0.91}, "reached": reached}
    verdict = gate({}, {"accuracy": 0.905, **known})
    assert verdict.passed is passed
    if not passed:
        assert (
            "accuracy 0.905, violates train.to.accuracy=0.91. Train longer, or lower the target." in verdict.refusal()
        )
