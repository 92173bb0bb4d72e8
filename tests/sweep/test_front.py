"""The front has no dominated point and misses no other; its knee lies furthest below the line through its ends."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import IntegrityError
from overwinter.sweep.front import find_front, forget_front, read_front, undominated, write_front
from overwinter.sweep.goal import FigureLimit, Goal
from tests.sweep.points import GOAL, record

ACCURATE = FigureLimit(figure="quality", bound=0.9, lower=True, text="accuracy >= 0.9")


def dominates(one, other):
    return bool(np.all(one <= other) and np.any(one < other))


@given(
    st.integers(1, 4).flatmap(lambda size: st.lists(st.tuples(*[st.integers(0, 4)] * size), min_size=1, max_size=25))
)
def test_no_point_of_the_front_is_dominated_and_every_other_is(rows):
    losses = np.array(rows, dtype=float)
    front = undominated(losses)
    for place, own in enumerate(losses):
        assert (place in front) == (not any(dominates(other, own) for other in losses))


@given(st.lists(st.tuples(st.floats(0.1, 1), st.floats(1e-6, 1)), min_size=1, max_size=15))
def test_the_front_is_ordered_and_its_marks_are_of_its_points(figures):
    records = [record(f"p{place}", quality, energy_j) for place, (quality, energy_j) in enumerate(figures)]
    front = find_front(records, GOAL)
    qualities = [point.quality for point in front.points]
    energies_j = [point.energy_per_response_j for point in front.points]
    assert qualities == sorted(qualities, reverse=True)
    assert energies_j == sorted(energies_j, reverse=True)
    names = {point.name for point in front.points}
    assert front.least_energy in names
    assert front.knee is None or front.knee in names
    assert front.considered == len(figures)


def test_the_optuna_front_is_the_same():
    optuna = pytest.importorskip("optuna")
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 6, (40, 2)) / 6
    study = optuna.create_study(directions=GOAL.directions)
    for quality, energy_j in rows:
        study.add_trial(optuna.trial.create_trial(values=[quality, energy_j]))
    ours = find_front([record(f"p{place}", *row) for place, row in enumerate(rows)], GOAL)
    assert {point.name for point in ours.points} == {f"p{trial.number}" for trial in study.best_trials}


def test_the_knee_lies_furthest_below_the_line_through_the_ends():
    points = [record("a", 1.0, 10.0), record("b", 0.95, 3.0), record("c", 0.7, 2.0), record("d", 0.5, 1.0)]
    # Scaled: a (0, 1), b (0.1, 2/9), c (0.6, 1/9), d (1, 0); the line is x + y = 1.
    assert find_front(points, GOAL).knee == "b"


@pytest.mark.parametrize(
    "points",
    [
        [("a", 1.0, 3.0), ("b", 0.5, 1.0)],
        [("a", 1.0, 3.0), ("b", 0.75, 2.0), ("c", 0.5, 1.0)],
        [("a", 1.0, 3.0), ("b", 0.9, 2.9), ("c", 0.5, 1.0)],
    ],
)
def test_ends_alone_and_points_on_or_above_the_line_have_no_knee(points):
    assert find_front([record(*point) for point in points], GOAL).knee is None


def test_a_front_of_one_point_is_its_own_knee():
    assert find_front([record("a", 1.0, 1.0), record("b", 0.5, 2.0)], GOAL).knee == "a"


def test_lower_is_better_for_a_task_that_says_so():
    goal = replace(GOAL, headline="perplexity", higher_is_better=False)
    assert [point.name for point in find_front([record("a", 20.0, 1.0), record("b", 25.0, 2.0)], goal).points] == ["a"]


def test_points_that_are_not_done_break_a_limit_or_lack_a_figure_are_left_out():
    points = [
        record("good", 0.95, 2.0),
        record("poor", 0.8, 1.0),
        record("refused", 0.99, 0.1, status="refused"),
        record("short", 0.99),
    ]
    front = find_front(points, replace(GOAL, limits=(ACCURATE,)))
    assert [point.name for point in front.points] == ["good"]
    assert (front.considered, front.least_energy, front.limits) == (1, "good", ("accuracy >= 0.9",))
    assert find_front([], GOAL).points == ()


def test_a_third_objective_adds_points():
    goal = Goal(objectives=(*GOAL.objectives, "size_bytes"), headline="accuracy", higher_is_better=True)
    points = [record("a", 1.0, 1.0, 100), record("b", 0.9, 2.0, 50), record("c", 0.9, 2.0, 60)]
    assert [point.name for point in find_front(points, goal).points] == ["a", "b"]
    assert [point.name for point in find_front(points, GOAL).points] == ["a"]


def test_it_is_kept_and_forgotten(tmp_path):
    front = find_front([record("a", 1.0, 1.0), record("b", 0.5, 0.5)], replace(GOAL, limits=(ACCURATE,)))
    write_front(tmp_path, front)
    assert read_front(tmp_path) == front
    (tmp_path / "study.db").touch()
    forget_front(tmp_path)
    assert read_front(tmp_path) == front  # a search's
    (tmp_path / "study.db").unlink()
    forget_front(tmp_path)
    with pytest.raises(IntegrityError):
        read_front(tmp_path)
