"""The next point is new, among all or among many drawn; the first ones are spread over the space."""

import pytest

from overwinter.config.groups.search import SearchSettings
from overwinter.sweep.goal import Goal
from overwinter.sweep.proposing import first_points, propose
from overwinter.sweep.space import read_space

optuna = pytest.importorskip("optuna")
GOAL = Goal(objectives=("quality", "size_bytes"), headline="accuracy", higher_is_better=True)


def proposed(overrides, trials, results):
    """Search with results from a function of the values; return the jobs."""
    space, known = read_space(overrides), []
    study = optuna.create_study(directions=GOAL.directions)
    settings = SearchSettings(method="gp", trials=trials)
    while len(known) < trials and (values := propose(space, GOAL, settings, study, known)) is not None:
        study.enqueue_trial(values)
        trial = study.ask(space.distributions())
        known.append(space.job(trial.params))
        trial.set_user_attr("overrides", list(known[-1]))
        study.tell(trial, results(trial.params))
    return known


def test_it_finds_the_end_of_an_interval_that_is_best_in_everything():
    jobs = proposed(
        ["a=interval(0,1)", "b=tag(log,int(interval(1,1000)))", "c=x,y,z"],
        16,
        lambda values: [values["a"], 10.0 ** (3 - values["a"]) * values["b"]],
    )
    assert len(set(jobs)) == 16
    best = [dict(word.split("=") for word in job) for job in jobs[first_points(16) :]]
    assert any(float(each["a"]) > 0.9 and int(each["b"]) < 10 for each in best)


def test_the_first_points_have_every_value_equally_often():
    jobs = proposed(["a=1,2,3,4", "b=x,y"], 20, lambda values: [1.0, 1.0 + values["a"]])
    first = jobs[: first_points(20)]
    assert [sum(f"a={value}" in job for job in first) for value in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert len(set(jobs)) == len(jobs) == 8  # then there is none left
