import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from overwinter.evaluation import scores

LOGITS = st_numpy.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(7)), elements=st.floats(-50, 50, width=32))


def test_calibration_of_two_answers_by_hand():
    logits = np.log(np.array([[0.9, 0.1], [0.7, 0.3]]))
    assert scores.calibration_error(logits, np.array([0, 1])) == pytest.approx((0.1 + 0.7) / 2)


def test_answers_in_one_bin_are_averaged_before_they_are_compared():
    logits = np.log(np.array([[0.75, 0.25]] * 4))
    assert scores.calibration_error(logits, np.array([0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-6)


def test_the_worst_class_is_one_that_occurs():
    logits = np.eye(4)[[0, 0, 2, 2, 0]]
    assert scores.worst_class(logits, np.array([0, 0, 2, 2, 2])) == (2, pytest.approx(2 / 3))


@given(LOGITS, st.integers(0, 2**31))
def test_every_share_is_one(logits, seed):
    labels = np.random.default_rng(seed).integers(7, size=len(logits))
    accuracy = scores.accuracy(logits, labels)
    assert scores.worst_class(logits, labels)[1] <= accuracy + 1e-12
    assert accuracy <= 1
    assert 0 <= scores.calibration_error(logits, labels) <= 1
    assert scores.agreement(logits, logits) == 1
    assert scores.top_accuracy(logits, labels, 7) == 1
    assert scores.top_accuracy(logits, labels, 3) <= scores.top_accuracy(logits, labels, 5)


@given(LOGITS)
def test_a_model_that_is_sure_and_right_is_calibrated(logits):
    labels = logits.argmax(axis=1)
    sure = np.where(np.arange(7) == labels[:, None], 100.0, 0.0)
    assert scores.calibration_error(sure, labels) == pytest.approx(0.0, abs=1e-9)


def test_the_interval_of_an_accuracy_is_wilsons():
    right = np.arange(100) < 90
    assert scores.share_interval(right, confidence=0.95) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    low, high = scores.share_interval(np.ones(30, bool), confidence=0.95)
    assert (low, high) == (pytest.approx(0.8865, abs=1e-4), 1.0)


def test_of_a_loss_only_the_samples_that_differ_count():
    dense = np.arange(1000) < 950
    assert scores.loss_interval(dense, dense, confidence=0.95) == pytest.approx((-0.00196, 0.00196), abs=1e-5)
    low, high = scores.loss_interval(dense, np.arange(1000) < 930, confidence=0.95)
    assert 0.01 < low < 0.02 < high < 0.03


@given(st.integers(20, 400), st.floats(0.02, 0.3), st.integers(0, 2**31))
def test_the_interval_of_a_loss_holds_the_loss_and_turns_with_its_sign(count, share, seed):
    generator = np.random.default_rng(seed)
    one, other = generator.random((2, count)) > share
    low, high = scores.loss_interval(one, other, confidence=0.95)
    assert low - 1e-9 <= one.mean() - other.mean() <= high + 1e-9
    assert scores.loss_interval(other, one, confidence=0.95) == pytest.approx((-high, -low))


def test_nineteen_of_twenty_intervals_hold_the_true_loss():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        dense, changed = generator.random(300) < 0.9, generator.random(300)
        other = np.where(dense, changed >= 0.05, changed < 0.2)  # 0.9 * 0.05 lost, 0.1 * 0.2 won
        low, high = scores.loss_interval(dense, other, confidence=0.95)
        held += low <= 0.9 * 0.05 - 0.1 * 0.2 <= high
    assert 0.92 <= held / 400 <= 0.98
