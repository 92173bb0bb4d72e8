"""Quality at a gate, against the dense model."""

from __future__ import annotations

import pytest

from overwinter.budget import judge


@pytest.fixture
def gate(budget, energy):
    def judged(quality, figures, dense=None, evaluation=None, **more):
        made = budget(quality=quality, **more)
        return judge(
            made,
            stage="sparsify",
            energy={"sparsify": energy()},
            figures=figures,
            dense_figures=dense,
            evaluation=evaluation,
        )

    return judged


@pytest.mark.parametrize(
    ("quality", "metrics", "dense", "passed"),
    [
        ({"min_accuracy": 0.9}, {"validation_accuracy": 0.9}, None, True),
        ({"min_accuracy": 0.9}, {"validation_accuracy": 0.89}, None, False),
        ({"max_accuracy_loss": 0.01}, {"validation_accuracy": 0.97}, {"validation_accuracy": 0.98}, True),
        ({"max_accuracy_loss": 0.01}, {"validation_accuracy": 0.96}, {"validation_accuracy": 0.98}, False),
        ({"max_accuracy_loss": 0.0}, {"validation_accuracy": 0.99}, {"validation_accuracy": 0.98}, True),
        ({"max_loss_increase": 0.1}, {"validation_loss": 1.1}, {"validation_loss": 1.0}, True),
        ({"max_loss_increase": 0.1}, {"validation_loss": 1.2}, {"validation_loss": 1.0}, False),
        ({"max_loss_increase": 0.1}, {"perplexity": 12.0}, {"perplexity": 10.0}, False),
        ({"max_loss_increase": 0.1}, {"loss": 0.0}, {"loss": 0.0}, True),
    ],
)
def test_a_stage_is_judged_by_what_it_reports(gate, quality, metrics, dense, passed: bool):
    verdict = gate(quality, metrics, dense)
    assert verdict.passed is passed
    assert len(verdict.reasons) == 1
    assert ("Compress less" in verdict.refusal()) is not passed


def test_a_stage_that_reports_no_quality_is_not_judged_by_it(gate):
    assert gate({"max_accuracy_loss": 0.01}, {"steps": 10}, {"validation_accuracy": 0.9}).reasons == ()


def test_one_point_lost_is_one_point_whatever_the_rounding(gate):
    assert gate({"max_accuracy_loss": 0.01}, {"accuracy": 0.97}, {"accuracy": 0.98}).passed  # 0.98 - 0.97 > 0.01


def test_at_the_end_the_chosen_variant_is_judged_against_the_dense_one(gate, evaluation):
    verdict = gate({"max_accuracy_loss": 0.01}, {"accuracy": 0.95}, {"accuracy": 0.98}, evaluation())
    assert not verdict.passed
    assert "accuracy 0.9500, dense 0.9800" in verdict.refusal()


@pytest.mark.parametrize("quality", [{"min_accuracy": 0.9}, {"max_accuracy_loss": 0.01}, {"max_loss_increase": 0.1}])
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
    verdict = gate({"min_accuracy": 0.9}, {"accuracy": 0.5}, mode="warn")
    assert verdict.passed
    assert "accuracy 0.5000" in verdict.warnings[0]
