"""Optimizers and schedules of one's own."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.training.optimizer_state import split_state
from overwinter.training.optimizing import check_schedule, make_optimizer, make_schedule
from tests.support.settings import fit_settings
from tests.training.test_loop import Dies, same_bits, weights

OPTIM, SCHEDULES = "torch.optim", "torch.optim.lr_scheduler"


class Held(torch.optim.SGD):
    """Its state is more than tensors."""

    def step(self, closure=None):
        super().step(closure)
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["steps"] = self.state[parameter].get("steps", 0) + 1
            self.state[parameter]["nothing"] = None


class Closed(Held):
    """No checkpoint can hold its state."""

    def step(self, closure=None):
        super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["set"] = {1}


def node(target, **arguments):
    return {"_target_": target, **arguments}


def stepped(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


OWN = {
    "momentum": ({"optimizer": node(f"{OPTIM}.SGD", momentum=0.9, nesterov=True)}, {}),
    "without state": ({"optimizer": node(f"{OPTIM}.SGD")}, {}),
    "Adafactor": ({"optimizer": node(f"{OPTIM}.Adafactor")}, {}),
    "NAdam": ({"optimizer": node(f"{OPTIM}.NAdam", betas=[0.8, 0.99])}, {}),
    "StepLR": ({"schedule": node(f"{SCHEDULES}.StepLR", step_size=1, gamma=0.5)}, {}),
    "plateau": ({"schedule": node(f"{SCHEDULES}.ReduceLROnPlateau", patience=0, threshold=0.5)}, {}),
    "milestones": (
        {"schedule": node(f"{SCHEDULES}.MultiStepLR", milestones=[3, 7, 7]), "schedule_interval": "step"},
        {},
    ),
    "one cycle": (
        {
            "optimizer": node(f"{OPTIM}.Adam"),
            "schedule": node(f"{SCHEDULES}.OneCycleLR", max_lr=0.05, total_steps=16),
            "schedule_interval": "step",
        },
        {},
    ),
    "own class": ({"optimizer": node(f"{__name__}.Held", momentum=0.5)}, {"trusted": [__name__]}),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("step", [4, 6, 11])
def test_a_fit_with_ones_own_is_taken_up_with_equal_bits(fit, tmp_path, name, step):
    changes, arguments = OWN[name]
    arguments = {**changes, **arguments}
    with pytest.raises(Dies.Killed):
        fit(loss=Dies(step), checkpoints=tmp_path, **arguments)
    resumed, undisturbed = fit(checkpoints=tmp_path, **arguments), fit(**arguments)
    assert resumed.resumed
    assert resumed.history == undisturbed.history
    assert same_bits(weights(resumed), weights(undisturbed))
    assert not same_bits(weights(resumed), weights(fit()))


def test_the_learning_rate_is_the_settings_unless_the_optimizer_has_one():
    model = nn.Linear(2, 2)
    settings = fit_settings(learning_rate=0.5, optimizer=node(f"{OPTIM}.SGD"))
    assert make_optimizer(model, settings).param_groups[0]["lr"] == 0.5
    settings = fit_settings(learning_rate=0.5, optimizer=node(f"{OPTIM}.SGD", lr=0.1))
    optimizer = make_optimizer(model, settings)
    schedule = make_schedule(optimizer, settings, 100)
    schedule.before_step(10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)  # the end of the warm-up
    schedule.before_step(1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (node(f"{OPTIM}.SDG"), "torch.optim has no such class.*SGD"),
        (node(f"{OPTIM}.SGD", momentm=0.9), "TypeError.*momentm.*It takes: lr, momentum"),
        (node(f"{OPTIM}.SGD", lr=-1.0), "Invalid learning rate: -1.0"),
        (node(f"{OPTIM}.LBFGS"), "computes the loss several times in a step"),
        (node(f"{SCHEDULES}.StepLR", step_size=1), "is not trusted|no such class|not a class"),
        (node("os.system"), "not trusted"),
        ({"lr": 1.0}, "train.optimizer._target_ is missing"),
    ],
)
def test_an_optimizer_that_cannot_be_made_is_refused(optimizer, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        make_optimizer(nn.Linear(2, 2), fit_settings(optimizer=optimizer))


def test_the_message_names_where_the_settings_are():
    key = "sparsify.recovery.fine_tuning.fit"
    with pytest.raises(ConfigError, match=rf"{key}\.optimizer\._target_=.* cannot be made with .*momentm"):
        make_optimizer(nn.Linear(2, 2), fit_settings(optimizer=node(f"{OPTIM}.SGD", momentm=0.9)), key=key)
    with pytest.raises(ConfigError, match=rf"{key}\.schedule\._target_=.* cannot be made"):
        check_schedule(fit_settings(schedule=node(f"{SCHEDULES}.StepLR")), 10, key=key)


@pytest.mark.parametrize(
    ("schedule", "interval", "message"),
    [
        (node(f"{SCHEDULES}.StepLr", step_size=1), "epoch", "has no such class.*StepLR"),
        (node(f"{SCHEDULES}.StepLR"), "epoch", "cannot be made with {}: TypeError.*step_size"),
        (node(f"{SCHEDULES}.OneCycleLR", max_lr=0.1, total_steps=20), "step", "fails after step 21 of 30"),
        (node(f"{OPTIM}.SGD"), "epoch", "not trusted|no such class|not a class"),
    ],
)
def test_a_schedule_that_would_fail_in_the_fit_is_refused_before(schedule, interval, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        check_schedule(fit_settings(schedule=schedule, schedule_interval=interval), 10)


def test_a_schedule_that_ends_in_time_passes():
    settings = fit_settings(schedule=node(f"{SCHEDULES}.OneCycleLR", max_lr=0.1, total_steps=30))
    check_schedule(replace(settings, schedule_interval="step"), 10)
    check_schedule(fit_settings(), 10)


def test_state_that_no_checkpoint_can_hold_is_named():
    optimizer = Closed(nn.Linear(2, 2).parameters(), lr=0.1)
    stepped(optimizer)
    with pytest.raises(ConfigError, match=r"Closed has the state 'set', \{1\} \(set\)"):
        split_state(optimizer)
