import numpy as np
import torch

from overwinter.runtime import largest_difference, softmax


def test_equal_answers_do_not_differ():
    assert largest_difference(np.ones((2, 3)), np.ones((2, 3))) == 0


def test_differences_are_relative_to_the_largest_logit():
    assert largest_difference(np.array([[1.0, 10.1]]), np.array([[1.0, 10.0]])) < 0.011


def test_other_shapes_and_nan_exceed_every_tolerance():
    assert largest_difference(np.ones((2, 3)), np.ones((2, 4))) == float("inf")
    assert largest_difference(np.array([np.nan]), np.array([1.0])) == float("inf")


def test_all_zero_answers_can_be_compared():
    assert largest_difference(np.zeros((1, 2)), np.zeros((1, 2))) == 0
    assert largest_difference(np.ones((1, 2)), np.zeros((1, 2))) > 1


def test_softmax_is_torchs_and_large_logits_do_not_overflow():
    logits = np.array([[1.0, 2.0, 3.0], [1e4, 0.0, -1e4]], dtype=np.float32)
    expected = torch.softmax(torch.from_numpy(logits).double() / 0.5, -1).numpy()
    np.testing.assert_allclose(softmax(logits, temperature=0.5), expected, rtol=1e-12)
    assert softmax(logits).dtype == np.float64
