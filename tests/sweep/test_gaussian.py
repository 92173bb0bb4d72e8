"""Gaussian processes predict what they were given, and promise where nothing is known or all is better."""

import numpy as np
import pytest

from overwinter.sweep.gaussian import Known, Process, best_of, improvements, latin_shares

MIXED = np.array([True, False])


def draw():
    return np.random.default_rng(3)


def grid():
    return np.array([[amount, category] for amount in np.linspace(0, 1, 6) for category in range(4)])


def values(places):
    return 2 * places[:, 0] + np.array([0.0, 1.0, -1.0, 0.5])[places[:, 1].astype(int)]


def fitted(places):
    process = Process(places, values(places), MIXED)
    process.fit(draw())
    return process


def test_what_one_key_does_is_learned_from_points_that_differ_in_the_other():
    every = grid()
    known = np.array([place[0] in (0.0, 1.0) or place[1] == 0 for place in every])
    mean, _ = fitted(every[known]).predict(every[~known])
    assert np.abs(mean - values(every[~known])).max() < 0.25


def test_known_points_are_certain_and_far_ones_are_not():
    known = np.array([[0.0, 0], [0.1, 0], [0.2, 1], [0.0, 1]])
    mean, deviation = fitted(known).predict(np.array([[0.1, 0], [1.0, 3]]))
    assert mean[0] == pytest.approx(0.2, abs=0.15)
    assert deviation[1] > 3 * deviation[0]


def test_a_point_that_runs_leaves_less_to_learn_beside_it():
    process = fitted(grid()[:8])
    there = np.array([[1.0, 3.0]])
    mean, before = process.predict(there)
    again, after = process.extended(there, mean).predict(there)
    assert again == pytest.approx(mean, abs=0.1)
    assert after < before / 2


def test_the_improvement_is_the_share_of_the_box_that_only_the_new_point_dominates():
    losses, worst = np.array([[0.0, 0.5], [1.0, 0.0]]), np.array([1.0, 1.0])
    means = np.array([[0.5, 0.0], [0.0, 0.0], [0.5, 0.75]])
    found = improvements(means, np.full((3, 2), 1e-6), losses, worst, draw())
    assert found == pytest.approx([0.25, 0.5, 0.0], abs=0.04)


def test_points_that_break_a_limit_lower_the_promise_of_those_like_them():
    places = np.array([[amount, category] for category in (0, 1) for amount in (0.0, 0.5, 1.0)])
    losses = np.stack([-places[:, 0], places[:, 0]], axis=1)
    known = Known(
        places=places,
        losses=np.where(places[:, 1:] == 1, np.nan, losses),
        violations=np.where(places[:, 1] == 1, 1.0, -1.0),
        pending=np.empty((0, 2)),
        ordered=MIXED,
    )
    candidates = np.array([[0.25, 1.0], [0.25, 0.0], [0.75, 1.0]])
    assert best_of(candidates, known, draw()) == 1


def test_first_points_are_spread_along_every_key():
    shares = np.array(latin_shares(5, 3, draw()))
    assert [sorted(each) for each in (shares * 5).astype(int).T.tolist()] == [[0, 1, 2, 3, 4]] * 3
