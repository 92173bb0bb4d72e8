import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.evaluation import intervals
from overwinter.evaluation.intervals import headline_intervals, loss_interval, share_interval
from overwinter.tasks import Classification, LanguageModeling, Regression, Segmentation

GENERATOR = np.random.default_rng(0)


def test_the_interval_of_an_accuracy_is_wilsons():
    right = np.arange(100) < 90
    assert share_interval(right, confidence=0.95) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    low, high = share_interval(np.ones(30, bool), confidence=0.95)
    assert (low, high) == (pytest.approx(0.8865, abs=1e-4), 1.0)


def test_of_a_loss_only_the_samples_that_differ_count():
    dense = np.arange(1000) < 950
    assert loss_interval(dense, dense, confidence=0.95) == pytest.approx((-0.00196, 0.00196), abs=1e-5)
    low, high = loss_interval(dense, np.arange(1000) < 930, confidence=0.95)
    assert 0.01 < low < 0.02 < high < 0.03


@given(st.integers(20, 400), st.floats(0.02, 0.3), st.integers(0, 2**31))
def test_the_interval_of_a_loss_holds_the_loss_and_turns_with_its_sign(count, share, seed):
    generator = np.random.default_rng(seed)
    one, other = generator.random((2, count)) > share
    low, high = loss_interval(one, other, confidence=0.95)
    assert low - 1e-9 <= one.mean() - other.mean() <= high + 1e-9
    assert loss_interval(other, one, confidence=0.95) == pytest.approx((-high, -low))


def test_nineteen_of_twenty_intervals_hold_the_true_loss():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        dense, changed = generator.random(300) < 0.9, generator.random(300)
        other = np.where(dense, changed >= 0.05, changed < 0.2)  # 0.9 * 0.05 lost, 0.1 * 0.2 won
        low, high = loss_interval(dense, other, confidence=0.95)
        held += low <= 0.9 * 0.05 - 0.1 * 0.2 <= high
    assert 0.92 <= held / 400 <= 0.98


def regression(noise, count=400, seed=0):
    """A task, and the rows of outputs with some noise on the same targets."""
    generator = np.random.default_rng(seed)
    targets = generator.standard_normal((count, 1)).astype(np.float32)
    error = noise * generator.standard_normal((count, 1)).astype(np.float32)
    return Regression([]).rows(targets + error, targets)


def test_a_measure_without_a_closed_form_has_a_bootstrap_interval_that_holds_it():
    task, rows = Regression([]), {"dense@a": regression(0.3), "int8@a": regression(0.4)}
    found = headline_intervals(task, rows, "dense@a", confidence=0.95, seed=0)
    for name, (interval, _) in found.items():
        assert interval[0] < task.measure(rows[name])["r2"] < interval[1]
    assert found["dense@a"][1] == (0.0, 0.0)
    assert headline_intervals(task, rows, "dense@a", confidence=0.95, seed=0) == found


def test_a_loss_is_paired_so_that_its_interval_is_narrower_than_the_measures():
    targets = GENERATOR.standard_normal((300, 1)).astype(np.float32)
    outputs = targets + 0.5 * GENERATOR.standard_normal((300, 1)).astype(np.float32)
    task = Regression([])
    rows = {"dense@a": task.rows(outputs, targets), "int8@a": task.rows(outputs * 0.99, targets)}
    (low, high), (loss_low, loss_high) = headline_intervals(task, rows, "dense@a", confidence=0.95, seed=0)["int8@a"]
    assert loss_high - loss_low < 0.2 * (high - low)


def test_a_measure_of_counts_is_resampled_by_their_sums():
    """Both ways give the same figures; the sums need no copy of the rows for each resample."""
    task = Segmentation(["a", "b", "c"])
    outputs = GENERATOR.standard_normal((40, 3, 4, 4)).astype(np.float32)
    rows = task.rows(outputs, GENERATOR.integers(3, size=(40, 4, 4)))
    assert intervals._are_sums(task, rows)
    sums = [task.measure(each)["mean_iou"] for each in intervals._totals(rows, 0)]
    members = [task.measure(each)["mean_iou"] for each in intervals._members(rows, 0)]
    assert sums == pytest.approx(members)
    assert len(sums) == intervals.RESAMPLES


def test_a_perplexity_is_one_of_sums_and_its_loss_is_relative():
    task = LanguageModeling()
    rows = {"nats": GENERATOR.uniform(2, 4, size=50), "hits": np.zeros(50, int), "tokens": np.ones(50, int)}
    worse = rows | {"nats": rows["nats"] + np.log(1.02)}
    assert intervals._are_sums(task, rows)
    found = headline_intervals(task, {"dense@a": rows, "int4@a": worse}, "dense@a", confidence=0.95, seed=0)
    assert found["int4@a"][1] == pytest.approx((0.02, 0.02))


def test_numbers_are_not_taken_for_sums():
    assert not intervals._are_sums(Regression([]), regression(0.3))
    assert not intervals._are_sums(Regression([]), regression(0.3, count=1))


def test_most_bootstrap_intervals_hold_the_true_loss():
    """The error's variance is 0.09 of dense and 0.16 of the other: the truth is a loss of R2 of 0.07."""
    task, held = Regression([]), 0
    for seed in range(12):
        rows = {"dense@a": regression(0.3, seed=2 * seed), "int8@a": regression(0.4, seed=2 * seed)}
        low, high = headline_intervals(task, rows, "dense@a", confidence=0.9, seed=seed)["int8@a"][1]
        held += low <= 0.07 <= high
    assert held >= 9


def test_where_samples_are_right_or_wrong_the_closed_forms_are_used():
    task = Classification(["a", "b"])
    targets = GENERATOR.integers(2, size=100)
    rows = {"dense@a": task.rows(np.eye(2)[targets], targets), "int8@a": task.rows(np.eye(2)[targets[::-1]], targets)}
    found = headline_intervals(task, rows, "dense@a", confidence=0.95, seed=0)
    right, wrong = (rows[name]["correct"] for name in ("dense@a", "int8@a"))
    assert found["int8@a"] == (share_interval(wrong, confidence=0.95), loss_interval(right, wrong, confidence=0.95))
