import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from overwinter.data import Split
from overwinter.errors import ConfigError, OverwinterError, RefusedError
from overwinter.tasks import Classification
from overwinter.training import TaskLoss, evaluate

STEPS_PER_EPOCH, TOTAL = 5, 15


def weights(result):
    return result.model.state_dict()


def same_bits(first, second):
    return all(torch.equal(first[name], second[name]) for name in first) and list(first) == list(second)


LOSS = TaskLoss(Classification(["dark", "bright"], label_smoothing=0.1))


class Dies:
    """A loss that ends the process in a given step, as a kill would: nothing is saved on the way out."""

    class Killed(BaseException):
        pass

    def __init__(self, step: int, loss=LOSS):
        self.left, self.loss = step, loss

    def __call__(self, outputs, targets, inputs):
        self.left -= 1
        if not self.left:
            raise self.Killed
        return self.loss(outputs, targets, inputs)


class CountingHook:
    """A hook whose state matters: it adds a little noise to a weight, more with each step."""

    def __init__(self, weight):
        self.weight, self.steps, self.calls = weight, torch.zeros(()), []

    def before_step(self, step, total):
        assert self.weight.grad is not None
        self.calls.append(("before", step, total))

    def after_step(self, step, total):
        self.calls.append(("after", step, total))
        self.steps += 1
        with torch.no_grad():
            self.weight += 0.001 * self.steps * torch.rand(())

    def settled(self, step, total):
        return step > STEPS_PER_EPOCH

    def state_dict(self):
        return {"steps": self.steps.clone()}

    def load_state_dict(self, state):
        self.steps = state["steps"].clone()


def hooked(fit, new_model, **arguments):
    model = new_model()
    return fit(model=model, hooks=[CountingHook(model[0].weight)], **arguments)


def test_it_learns(fit):
    result = fit(epochs=8)
    assert result.measures["accuracy"] > 0.85
    assert result.history[-1].training_loss < result.history[0].training_loss
    assert not result.model.training


def test_two_runs_have_equal_bits(fit):
    assert same_bits(weights(fit()), weights(fit()))


def test_another_seed_gives_another_model(fit):
    assert not same_bits(weights(fit()), weights(fit(seed=8)))


@pytest.mark.parametrize("step", [1, 2, 5, 6, 8, 10, 14, 15])
def test_killed_at_any_step_and_started_again_ends_with_equal_bits(fit, new_model, tmp_path, step):
    undisturbed = hooked(fit, new_model)
    with pytest.raises(Dies.Killed):
        hooked(fit, new_model, loss=Dies(step), checkpoints=tmp_path)
    resumed = hooked(fit, new_model, checkpoints=tmp_path)
    assert resumed.resumed == (step > 1)
    assert same_bits(weights(undisturbed), weights(resumed))
    assert resumed.history == undisturbed.history


def test_killed_again_and_again_it_ends_with_equal_bits(fit, new_model, tmp_path):
    for _ in range(6):
        with pytest.raises(Dies.Killed):
            hooked(fit, new_model, loss=Dies(3), checkpoints=tmp_path)
    assert same_bits(weights(hooked(fit, new_model, checkpoints=tmp_path)), weights(hooked(fit, new_model)))


@pytest.mark.parametrize("stop", [1, 5, 7, TOTAL])
def test_what_progress_raises_gets_out_after_a_checkpoint(fit, tmp_path, stop):
    def refuse(done, total, **figures):
        if done == stop:
            raise RefusedError("over budget")

    with pytest.raises(RefusedError):
        fit(checkpoints=tmp_path, checkpoint_interval_s=1e9, progress=refuse)
    assert [path.name for path in tmp_path.glob("*.json")] == [f"step-{stop:09d}.json"]
    resumed = fit(checkpoints=tmp_path, checkpoint_interval_s=1e9)
    assert resumed.resumed
    assert same_bits(weights(resumed), weights(fit()))


def test_progress_is_notified_of_every_step(fit):
    messages = []
    fit(progress=lambda done, total, **figures: messages.append((done, total, figures)))
    assert [done for done, _, _ in messages] == list(range(1, TOTAL + 1))
    assert {total for _, total, _ in messages} == {TOTAL}
    assert set(messages[-1][2]) == {"epoch", "loss", "validation_accuracy"}


def test_no_checkpoint_is_written_before_it_is_due(fit, tmp_path):
    fit(checkpoints=tmp_path, checkpoint_interval_s=1e9)
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_other_settings_are_not_taken_up(fit, tmp_path, caplog):
    fit(checkpoints=tmp_path)
    assert not fit(checkpoints=tmp_path, learning_rate=0.02).resumed
    assert "other settings" in caplog.text


def test_checkpoints_of_a_model_of_other_shapes_are_not_taken_up(fit, new_model, tmp_path):
    fit(checkpoints=tmp_path)
    narrower = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), *new_model()[2:5], nn.Linear(32, 2))
    assert not fit(model=narrower, checkpoints=tmp_path).resumed


def test_a_damaged_checkpoint_falls_back_to_the_one_before(fit, tmp_path, caplog):
    with pytest.raises(Dies.Killed):
        fit(loss=Dies(9), checkpoints=tmp_path)
    newest = tmp_path / "step-000000008.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    resumed = fit(checkpoints=tmp_path)
    assert "damaged" in caplog.text
    assert (tmp_path / "step-000000008.safetensors.damaged").exists()
    assert same_bits(weights(resumed), weights(fit(loss=LOSS)))


def test_hooks_see_every_step_with_its_gradients(fit, new_model):
    model = new_model()
    hook = CountingHook(model[0].weight)
    fit(model=model, hooks=[hook])
    expected = [(when, step, TOTAL) for step in range(1, TOTAL + 1) for when in ("before", "after")]
    assert hook.calls == expected


def test_only_settled_epochs_can_be_the_best(fit, new_model):
    class Late(CountingHook):
        def settled(self, step, total):
            return step == total

    model = new_model()
    result = fit(model=model, hooks=[Late(model[0].weight)], learning_rate=0.5)
    assert result.best_validation_loss == result.history[-1].validation_loss


def test_the_best_epoch_is_kept_not_the_last(fit, validation, task):
    result = fit(learning_rate=0.3, epochs=6)
    best = min(result.history, key=lambda record: record.validation_loss)
    assert best is not result.history[-1]
    assert evaluate(result.model, validation, task).loss == pytest.approx(best.validation_loss)
    assert result.best_validation_loss == best.validation_loss


def test_it_stops_early_without_gain(fit):
    result = fit(epochs=40, learning_rate=0.3, patience_epochs=2)
    assert result.epochs_run < 40
    best = min(result.history, key=lambda record: record.validation_loss)
    assert result.epochs_run == best.epoch + 2


def test_a_target_that_names_no_class_is_refused(fit, train):
    train.dataset.targets[3] = 70
    with pytest.raises(ConfigError, match="the split train: There is the target 70, and data names 2 classes"):
        fit()


def test_a_nan_loss_is_refused_with_its_place(fit, train):
    train.dataset.inputs[:] = float("nan")
    with pytest.raises(OverwinterError, match=r"loss is nan in epoch 1, step 1 of 15, .*\n.*learning rate"):
        fit(train=train)


def test_an_exploding_loss_is_refused(fit):
    with pytest.raises(OverwinterError, match=r"The loss is (nan|inf)"):
        fit(learning_rate=1e30, gradient_clip_norm=1e30, epochs=20)


def test_gradients_are_clipped(fit, new_model):
    norms = []

    class Norms(CountingHook):
        def before_step(self, step, total):
            norms.append(float(nn.utils.get_total_norm([each.grad for each in model.parameters()])))

    model = new_model()
    fit(model=model, hooks=[Norms(model[0].weight)], gradient_clip_norm=0.01)
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


class Noisy(Dataset):
    """Someone's map-style dataset that draws from every global generator."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        legacy = np.random.random()  # noqa: NPY002 - someone's data set may use it
        noise = torch.rand(1) + legacy + random.random()
        return torch.full((1, 4, 4), float(index % 2)) + noise, index % 2


class NoisyStream(IterableDataset):
    def __iter__(self):
        return (Noisy()[index] for index in range(20))


@pytest.mark.parametrize("dataset", [Noisy, NoisyStream])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_that_draws_at_random_resumes_with_equal_bits(fit, tmp_path, dataset, workers):
    train = Split(dataset(), workers=workers)
    with pytest.raises(Dies.Killed):
        fit(train=train, loss=Dies(4), checkpoints=tmp_path)
    resumed = fit(train=train, loss=LOSS, checkpoints=tmp_path)
    assert resumed.resumed
    assert same_bits(weights(resumed), weights(fit(train=train, loss=LOSS)))


def test_bf16_is_possible_where_asked(fit):
    assert fit(precision="bf16", epochs=6).measures["accuracy"] > 0.7


def test_a_tied_weight_is_fitted_and_resumed(fit, tmp_path):
    def tied():
        torch.manual_seed(0)
        first, second = nn.Linear(16, 16), nn.Linear(16, 16)
        second.weight = first.weight
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.Linear(16, 2))

    with pytest.raises(Dies.Killed):
        fit(model=tied(), loss=Dies(7), checkpoints=tmp_path)
    resumed = fit(model=tied(), checkpoints=tmp_path)
    assert resumed.model[1].weight is resumed.model[3].weight
    assert same_bits(weights(resumed), weights(fit(model=tied())))
