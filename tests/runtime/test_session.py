import numpy as np

from overwinter.runtime import largest_difference


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
