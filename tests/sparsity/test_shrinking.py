import copy

import pytest
import torch

from overwinter.config.groups.training import ShrinkConfig
from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import build_model
from overwinter.sparsity import Shrinking, flops_per_sample
from overwinter.tasks import Classification
from overwinter.training import fit
from overwinter.training.optimizing import make_optimizer
from tests.support.settings import fit_settings

CONFIG = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 8, 8],
    "classes": 2,
    "channels": [16, 16],
    "pool_after": [1],
}
IMAGES = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SHRINK = ShrinkConfig(amount=0.6, at=[0.25, 0.5])
SETTINGS = fit_settings(epochs=4, batch_size=8)


class StoppedError(Exception):
    pass


def fitted(*, stop_at=None, checkpoints=None, settings=SETTINGS, shrink=SHRINK):
    task = Classification(labels=["dark", "bright"])
    split = Split(InMemory(IMAGES, (IMAGES.mean((1, 2, 3)) > 0).long())).use(task)
    model = build_model(CONFIG, trusted=[], seed=3)
    hook = Shrinking(model, split, shrink)

    def progress(done, _total, **_figures):
        if done == stop_at:
            raise StoppedError

    result = fit(
        model, split, split, settings, task=task, seed=0, device=torch.device("cpu"), threads=1, hooks=[hook],
        checkpoints=checkpoints, progress=progress,
    )  # fmt: skip
    return hook, result


def test_channels_go_while_the_model_is_trained():
    hook, result = fitted()
    assert flops_per_sample(result.model, IMAGES) <= 0.4 * hook.flops
    assert result.model.head.in_features < 16
    assert result.measures["accuracy"] > 0.6
    assert list(hook.left_alone) == ["head"]


@pytest.mark.parametrize("stop_at", [5, 10, 20])
def test_a_fit_that_was_stopped_goes_on_across_a_removal(stop_at, tmp_path):
    _, whole = fitted()
    with pytest.raises(StoppedError):
        fitted(stop_at=stop_at, checkpoints=tmp_path)
    _, resumed = fitted(checkpoints=tmp_path)
    assert resumed.resumed
    state = whole.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in resumed.model.state_dict().items())


def test_the_optimizers_state_is_cut_with_the_parameters():
    model = build_model(CONFIG, trusted=[], seed=3)
    hook = Shrinking(model, Split(InMemory(IMAGES, torch.zeros(64))), ShrinkConfig(amount=0.5, at=[0.5]))
    optimizer = torch.optim.AdamW(model.parameters())
    hook.use_optimizer(optimizer)
    model(IMAGES).sum().backward()
    optimizer.step()
    before = copy.deepcopy(optimizer.state[model.head.weight]["exp_avg"])
    hook.after_step(5, 10)
    moments = optimizer.state[model.head.weight]["exp_avg"]
    assert moments.shape == model.head.weight.shape
    assert {tuple(column.tolist()) for column in moments.T} < {tuple(column.tolist()) for column in before.T}
    model(IMAGES).sum().backward()
    optimizer.step()


def test_muons_momentum_is_cut_with_the_kernels():
    model = build_model(CONFIG, trusted=[], seed=3).to(memory_format=torch.channels_last)
    hook = Shrinking(model, Split(InMemory(IMAGES, torch.zeros(64))), ShrinkConfig(amount=0.5, at=[0.5]))
    optimizer = make_optimizer(model, fit_settings(muon_learning_rate=0.02))
    hook.use_optimizer(optimizer)
    kernel = model.features[2][0].weight

    def step():
        model(IMAGES).sum().backward()
        optimizer.step()

    step()
    before = optimizer.state[kernel]["momentum_buffer"].clone()
    hook.after_step(5, 10)
    momentum = optimizer.state[kernel]["momentum_buffer"]
    assert momentum.shape == kernel.shape != before.shape
    assert {each for row in momentum.flatten(1).tolist() for each in row} < set(before.flatten().tolist())
    kept = momentum.clone()
    step()
    assert not torch.equal(optimizer.state[kernel]["momentum_buffer"], kept)


def test_a_fit_with_muon_goes_on_across_a_removal(tmp_path):
    settings = fit_settings(epochs=4, batch_size=8, muon_learning_rate=0.02)
    _, whole = fitted(settings=settings)
    with pytest.raises(StoppedError):
        fitted(stop_at=10, checkpoints=tmp_path, settings=settings)
    _, resumed = fitted(checkpoints=tmp_path, settings=settings)
    state = whole.model.state_dict()
    assert resumed.resumed
    assert all(torch.equal(state[name], tensor) for name, tensor in resumed.model.state_dict().items())


def test_epochs_with_more_channels_are_not_the_result():
    hook, _ = fitted()
    assert [hook.settled(step, 32) for step in (8, 15, 16, 32)] == [False, False, True, True]


def test_an_optimizer_whose_state_has_another_shape_is_refused():
    settings = fit_settings(epochs=4, batch_size=8, optimizer={"_target_": "torch.optim.Adafactor"})
    with pytest.raises(OverwinterError, match=r"Adafactor keeps 'row_var' of the shape .* Set train\.shrink=null"):
        fitted(settings=settings)


def test_more_than_can_go_is_refused_before_the_training():
    with pytest.raises(ConfigError, match=r"train\.shrink\.amount: 0\.999 of the FLOPs cannot be removed"):
        fitted(shrink=ShrinkConfig(amount=0.999, at=[0.5]))
