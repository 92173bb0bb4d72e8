"""Stopping at a target."""

import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.tasks import Classification, Regression
from overwinter.training import evaluate
from overwinter.training.target import check_steps, read_target
from tests.training.test_loop import Dies, same_bits, weights

AT_80 = {"to": {"accuracy": 0.8}, "epochs": 30, "checks_per_epoch": 5}


def test_it_stops_at_the_first_check_that_reaches_the_target(fit, validation, task):
    result = fit(**AT_80)
    assert result.reached
    assert result.measures["accuracy"] >= 0.8
    assert result.measures["accuracy"] == evaluate(result.model, validation, task).measures["accuracy"]
    assert result.steps < 150
    assert all(record.measures["accuracy"] < 0.8 for record in result.history[:-1])


def test_fewer_checks_stop_later_or_at_the_same_step(fit):
    often, seldom = fit(**AT_80), fit(**AT_80 | {"checks_per_epoch": 1})
    assert often.steps <= seldom.steps
    assert seldom.steps % 5 == 0


def test_a_missed_target_is_told_and_the_best_epoch_kept(fit):
    result = fit(to={"accuracy": 1.0}, epochs=2, learning_rate=1e-4)
    assert result.reached is False
    assert result.best_validation_loss == min(record.validation_loss for record in result.history)


def test_without_a_target_nothing_is_said(fit):
    assert fit().reached is None


@pytest.mark.parametrize("step", [2, 4, 6, 7])
def test_a_killed_fit_stops_at_the_same_step_with_equal_bits(fit, tmp_path, step):
    undisturbed = fit(**AT_80)
    assert undisturbed.steps > step
    with pytest.raises(Dies.Killed):
        fit(**AT_80, loss=Dies(step), checkpoints=tmp_path)
    resumed = fit(**AT_80, checkpoints=tmp_path)
    assert resumed.steps == undisturbed.steps
    assert same_bits(weights(resumed), weights(undisturbed))
    assert resumed.history == undisturbed.history


def test_a_reached_target_is_remembered(fit, tmp_path):
    first = fit(**AT_80, checkpoints=tmp_path)
    again = fit(**AT_80, checkpoints=tmp_path)
    assert again.resumed
    assert again.reached
    assert same_bits(weights(first), weights(again))


def test_only_a_settled_model_reaches_it(fit):
    class Late:
        def before_step(self, step, total): ...

        def after_step(self, step, total): ...

        def settled(self, step, total):
            return step > 100

        def state_dict(self):
            return {"none": torch.zeros(())}

        def load_state_dict(self, state): ...

    assert fit(**AT_80, hooks=[Late()]).steps > 100


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ({"acuracy": 0.9}, r"train.to={'acuracy': 0.9} names 'acuracy', .*Known: accuracy, f1_macro.*Did you mean"),
        ({}, "must name one measure"),
        ({"accuracy": 0.9, "f1_macro": 0.9}, "must name one measure"),
    ],
)
def test_what_is_no_target_is_refused(to, message):
    with pytest.raises(ConfigError, match=message):
        read_target(to, Classification(["dark", "bright"]))


def test_less_of_an_error_is_better():
    target = read_target({"mae": 0.2}, Regression(["value"]))
    assert target.is_reached({"mae": 0.2})
    assert not target.is_reached({"mae": 0.21})


def test_checks_are_spread_evenly_and_end_with_the_epoch():
    assert check_steps(10, 1) == {10}
    assert check_steps(10, 4) == {2, 5, 7, 10}
    assert check_steps(3, 8) == {1, 2, 3}
