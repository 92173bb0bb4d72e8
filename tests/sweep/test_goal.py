"""The goal of a search: objectives with the task's direction, and limits of its own and of the quality gate."""

import pytest

from overwinter.config import compose, find_project, validate
from overwinter.config.groups.search import SearchSettings
from overwinter.errors import ConfigError
from overwinter.sweep.goal import Goal, make_goal, read_limit


@pytest.fixture(scope="module")
def config():
    return validate(
        compose(find_project(), ["+budget.quality.at_least.accuracy=0.9", "budget.quality.min_quality=0.8"])
    )


def test_it_has_the_direction_of_the_task_and_the_limits_of_the_gate(config):
    goal = make_goal(SearchSettings(at_least={"accuracy": 0.95}, at_most={"size_bytes": 5e4}), config)
    assert (goal.headline, goal.higher_is_better, goal.directions) == ("accuracy", True, ["maximize", "minimize"])
    assert [limit.text for limit in goal.limits] == [
        "accuracy >= 0.95",
        "size_bytes <= 50000",
        "accuracy >= 0.8",
        "accuracy >= 0.9",
    ]
    assert goal.meets({"quality": 0.96, "size_bytes": 4e4})
    assert not goal.meets({"quality": 0.94, "size_bytes": 4e4})
    assert not goal.meets({"quality": 0.96, "size_bytes": None})


def test_an_error_is_minimized_and_limited_from_above():
    project = find_project()
    overrides = ["data=diamonds", "model=price_net", "task=regression", "trusted_targets=[diamonds]"]
    config = validate(compose(project, [*overrides, "budget.quality.min_quality=0.5"]))
    goal = make_goal(SearchSettings(objectives=["quality"]), config)
    assert goal.directions == ["maximize"]  # R2
    assert [limit.text for limit in goal.limits] == ["r2 >= 0.5"]


def test_values_and_violations_are_of_the_figures(config):
    goal = make_goal(SearchSettings(objectives=["size_bytes", "quality"]), config)
    figures = {"quality": 0.72, "size_bytes": 10}
    assert goal.values(figures) == [10.0, 0.72]
    assert goal.values({"quality": 0.72}) is None
    assert goal.violations(figures)["accuracy >= 0.9"] == pytest.approx(0.2)
    assert goal.violations(figures)["accuracy >= 0.8"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objectives": []}, "must name one or more"),
        ({"objectives": ["quality", "quality"]}, "each once"),
        ({"at_least": {"acuracy": 0.9}}, "does not know 'acuracy'.*Did you mean 'accuracy'"),
        ({"at_most": {"calibration_error": 0.1}}, "hydra.sweeper.at_most: a sweep does not know"),
    ],
)
def test_a_goal_that_cannot_be_is_refused(config, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_goal(SearchSettings(**settings), config)


@pytest.mark.parametrize("text", ["accuracy>=0.97", "accuracy >= 0.97", " accuracy  >=0.97"])
def test_a_limit_is_read_from_its_text(text):
    limit = read_limit(text, headline="accuracy", key="--pick")
    assert (limit.figure, limit.bound, limit.lower, limit.text) == ("quality", 0.97, True, "accuracy >= 0.97")


@pytest.mark.parametrize("text", ["accuracy", "accuracy>0.9", "accuracy>=much", ">=1", ""])
def test_what_is_not_a_limit_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"is not a limit. Write accuracy>=0.9"):
        read_limit(text, headline="accuracy", key="--pick")


def test_losses_are_less_for_better_and_logarithms_of_joules_and_bytes():
    goal = Goal(objectives=("quality", "energy_per_response_j", "size_bytes"), headline="f1", higher_is_better=True)
    assert goal.losses([0.9, 0.01, 1000.0]) == pytest.approx([-0.9, -2.0, 3.0])
    assert goal.losses([0.9, 0.0, 1.0])[1] == -12.0
