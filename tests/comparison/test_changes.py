"""The comparison of two recorded runs."""

import json

import pytest

from overwinter.comparison import Noises, compare, open_side
from overwinter.comparison.records import BEYOND, EQUAL, INCOMPARABLE, MISSING, SAME, UNKNOWN, WITHIN
from overwinter.records import to_json
from tests.support.metrics import candidate_metrics

AB = (("a", 0.9), ("b", 0.8))


@pytest.fixture
def compared(recorded):
    """Compare two runs, each given by what is recorded of it."""

    def compare_runs(a, b, *, noises=None, change=lambda recorded: None):
        recorded.record("one", **a)
        recorded.commit("a")
        recorded.record("two", **b)
        change(recorded)
        sides = [open_side(recorded.project, name, recorded.ledger) for name in ("a", "workspace")]
        return compare(*sides, noises=noises or Noises())

    return compare_runs


def figures(comparison):
    return {each.name: each for each in comparison.figures}


def verdicts(comparison):
    return {name: each.verdict for name, each in figures(comparison).items()}


def test_equal_runs_differ_in_nothing(compared):
    comparison = compared({}, {})
    assert set(verdicts(comparison).values()) == {EQUAL}
    assert comparison.parameters == ()


def test_one_revision_compared_with_itself_is_the_same_measurement(recorded):
    recorded.record("one")
    recorded.commit("a")
    side = open_side(recorded.project, "a", recorded.ledger)
    assert set(verdicts(compare(side, side, noises=Noises())).values()) == {SAME}


def test_each_figure_has_its_difference_its_interval_and_a_verdict(compared):
    joules = {
        "energy_per_response_j": 30e-6,
        "energy_per_response_low_j": 29e-6,
        "energy_per_response_high_j": 31e-6,
    }
    comparison = compared({}, {**joules, "size_bytes": 60_000, "quality": 0.96})
    found = figures(comparison)
    energy = found["energy_per_response"]
    assert (energy.a, energy.b, energy.unit, energy.better) == (40e-6, 30e-6, "J", "lower")
    assert energy.relative == pytest.approx(-0.25)
    assert energy.relative_low < -0.25 < energy.relative_high < 0
    assert energy.difference_low == pytest.approx(40e-6 * energy.relative_low)
    assert (energy.verdict, energy.is_worse) == (BEYOND, False)
    size = found["size"]
    assert (size.difference, size.verdict, size.is_worse) == (10_000, BEYOND, True)
    accuracy = found["accuracy"]
    assert accuracy.difference == pytest.approx(-0.01)
    assert (accuracy.verdict, accuracy.better, accuracy.unit) == (WITHIN, "higher", "share")
    assert found["latency"].verdict == EQUAL


def test_a_small_change_of_joules_is_noise_and_repetitions_say_how_small(compared):
    b = {"energy_per_response_j": 37e-6, "energy_per_response_low_j": 36.9e-6, "energy_per_response_high_j": 37.1e-6}
    a = {"energy_per_response_low_j": 39.9e-6, "energy_per_response_high_j": 40.1e-6}
    assumed = figures(compared(a, b))["energy_per_response"]
    assert assumed.verdict == WITHIN
    assert "4 % each are assumed" in assumed.basis


def test_repetitions_in_the_ledger_sharpen_the_verdict(compared):
    b = {"energy_per_response_j": 37e-6, "energy_per_response_low_j": 36.9e-6, "energy_per_response_high_j": 37.1e-6}
    a = {"energy_per_response_low_j": 39.9e-6, "energy_per_response_high_j": 40.1e-6}
    repeated = {name: {"int8@onnxruntime": [[1.0, 1.01, 1.005, 0.995, 1.0]]} for name in ("energy_per_response_j",)}
    sharp = figures(compared(a, b, noises=Noises(repeated=repeated)))["energy_per_response"]
    assert sharp.verdict == BEYOND
    assert "of 5 in the ledger" in sharp.basis


def test_changed_parameters_are_named_as_the_plan_names_them(compared):
    comparison = compared({}, {"params": {"train": {"epochs": 8}, "configs_digest": "2"}})
    assert comparison.parameters == ("train.epochs: 16 -> 8",)


@pytest.mark.parametrize(
    ("b", "reason"),
    [
        ({"measured": True}, "B's joules are measured by counters, A's are modelled"),
        ({"device": "cuda"}, "A was measured on cpu, B on cuda"),
        ({"batch_size": 1}, "A was measured at batch size 32, B at 1"),
    ],
)
def test_joules_measured_in_another_way_are_not_compared(compared, b, reason):
    comparison = compared({}, {"energy_per_response_j": 1e-6, "energy_per_response_low_j": 1e-6, **b})
    energy = figures(comparison)["energy_per_response"]
    assert (energy.verdict, energy.basis) == (INCOMPARABLE, reason)
    assert energy.relative == pytest.approx(-0.975)


def test_joules_of_another_machine_are_not_compared(compared):
    def elsewhere(recorded):
        for stage in ("train", "sparsify", "evaluate"):
            recorded.energy(stage, "two", machine="Another CPU, 64 threads", energy_j=50.0)

    comparison = compared({}, {"energy_per_response_j": 20e-6, "energy_per_response_low_j": 19e-6}, change=elsewhere)
    found = figures(comparison)
    for name in ("energy_per_response", "production_energy", "production_energy.train"):
        assert found[name].verdict == INCOMPARABLE
        assert "Another CPU, 64 threads" in found[name].basis
    assert found["accuracy"].verdict == EQUAL


def test_a_measure_of_another_task_is_missing_on_the_other_side(compared):
    regression = {"task": {"name": "regression", "output": None, "loss": None}}
    comparison = compared({}, {"headline": "mae", "quality": 12.0, "params": regression})
    found = figures(comparison)
    assert found["accuracy"].verdict == found["mae"].verdict == MISSING
    assert found["accuracy"].better == "higher"
    assert any("A is judged by accuracy, B by mae" in note for note in comparison.notes)


def test_quality_without_an_interval_has_no_verdict(compared):
    bare = {"quality_low": None, "quality_high": None}
    found = figures(compared(bare, {**bare, "quality": 0.5}))["accuracy"]
    assert found.verdict == UNKNOWN


def test_an_evaluation_of_too_few_samples_has_no_interval(compared):
    found = figures(compared({"samples": 2}, {"samples": 1, "energy_per_response_j": 20e-6}))["energy_per_response"]
    assert (found.verdict, found.difference_low) == (UNKNOWN, None)
    assert found.basis == (
        "an interval needs 3 samples without much disturbance, of which A has 2 and B has 1: raise evaluate.repeats"
    )


def test_only_the_side_with_too_few_samples_is_blamed(compared):
    found = figures(compared({"samples": 3}, {"samples": 2, "energy_per_response_j": 20e-6}))["energy_per_response"]
    assert "of which B has 2:" in found.basis


@pytest.mark.parametrize("samples", [3, None])
def test_three_samples_or_an_older_versions_unknown_number_have_an_interval(compared, samples):
    few = {"samples": samples}
    found = figures(compared(few, {**few, "energy_per_response_j": 20e-6}))["energy_per_response"]
    assert found.relative_low < -0.5 < found.relative_high
    assert "4 % each are assumed" in found.basis


def test_without_an_evaluation_the_last_model_is_compared(compared, recorded):
    def only_trained(recorded):
        (recorded.root / "outputs/evaluate/metrics.json").unlink()

    recorded.record("zero")
    only_trained(recorded)
    recorded.commit("before")
    before = open_side(recorded.project, "before", recorded.ledger)
    recorded.record("one")
    only_trained(recorded)
    recorded.write("outputs/sparsify/metrics.json", {"headline": "accuracy", "accuracy": 0.5})
    after = open_side(recorded.project, "workspace", recorded.ledger)
    accuracy = figures(compare(before, after, noises=Noises()))["accuracy"]
    assert (accuracy.a, accuracy.b, accuracy.verdict) == (0.99, 0.5, UNKNOWN)
    assert "validation" in accuracy.basis


def test_where_only_one_side_was_evaluated_validation_is_not_mixed_with_test(compared):
    comparison = compared({}, {}, change=lambda recorded: (recorded.root / "outputs/evaluate/metrics.json").unlink())
    assert figures(comparison)["accuracy"].verdict == MISSING
    assert figures(comparison)["size"].verdict == MISSING


def test_a_machine_in_another_state_is_seen_by_its_dense_model(recorded):
    def dense(joules):
        metrics = json.loads((recorded.root / "outputs/evaluate/metrics.json").read_text())
        ends = {"energy_per_response_low_j": joules * 0.99, "energy_per_response_high_j": joules * 1.01}
        metrics["dense"] = to_json(candidate_metrics("dense@torch", energy_per_response_j=joules, samples=12, **ends))
        recorded.write("outputs/evaluate/metrics.json", metrics)

    sides = []
    for name, joules in (("a", 1.0), ("b", 1.02), ("c", 1.5)):
        recorded.record(name)
        dense(joules)
        recorded.commit(name)
        sides.append(open_side(recorded.project, name, recorded.ledger))
    quiet, disturbed = (compare(sides[0], side, noises=Noises()).notes for side in sides[1:])
    assert not any("another state" in note for note in quiet)
    assert any("+50 % joules per response in B" in note for note in disturbed)


def with_measures(recorded, name, measures):
    """Record, commit and read a run whose comparison.json has these measures, as JSON."""
    recorded.record(name)
    recorded.write("outputs/evaluate/comparison.json", f'{{"candidates": {{"int8@onnxruntime": {measures}}}}}')
    recorded.commit(name)
    return open_side(recorded.project, name, recorded.ledger)


@pytest.mark.parametrize("value", ["NaN", "1" + "0" * 400, '"high"', "true", "null"])
def test_a_measure_that_is_no_number_is_left_out(recorded, value):
    a = with_measures(recorded, "a", '{"f1_macro": 0.9, "calibration_error": 0.1}')
    b = with_measures(recorded, "b", f'{{"f1_macro": {value}, "calibration_error": 0.2}}')
    found = figures(compare(a, b, noises=Noises()))
    assert "f1_macro" not in found
    assert found["calibration_error"].is_worse


def test_measures_at_hand_are_compared_without_a_verdict(recorded):
    sides = [with_measures(recorded, name, f'{{"f1_macro": {f1}, "top5_accuracy": 1}}') for name, f1 in AB]
    found = figures(compare(*sides, noises=Noises()))
    assert (found["f1_macro"].verdict, found["f1_macro"].is_worse) == (UNKNOWN, True)
    assert found["top5_accuracy"].verdict == EQUAL
