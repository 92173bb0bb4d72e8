from dataclasses import asdict

import pytest
import torch
from torch import nn

from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import counted_sparsity, prunable_weights
from overwinter.sparsity import start_sparse
from overwinter.sparsity.ratios import kept_weights
from overwinter.sparsity.rigl import RiglHook
from overwinter.sparsity.settings import RiglConfig, SparseTrainConfig
from overwinter.tasks import Classification
from overwinter.training import fit
from tests.support.settings import fit_settings

TOTAL = 40


def settings(**changes):
    values = {
        "amount": 0.8,
        "ratios": "erk",
        "update_interval_steps": 4,
        "update_fraction": 0.5,
        "stop_fraction": 0.75,
        "skip": [],
    }
    return RiglConfig(**(values | changes))


def train_config(**changes):
    return SparseTrainConfig(**asdict(fit_settings(epochs=3)), version=1, method="fit", sparse=settings(**changes))


def new_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 32), nn.Linear(32, 2))


def masks(model):
    return {name: weight != 0 for name, weight in prunable_weights(model).items()}


def counts(model):
    return {name: int(mask.sum()) for name, mask in masks(model).items()}


def steps(model, hook, start=0):
    """Yield each step of an optimizer that changes every weight, also the removed ones."""
    for step in range(start + 1, TOTAL + 1):
        torch.manual_seed(step)
        for weight in prunable_weights(model).values():
            weight.grad = torch.randn_like(weight)
        hook.before_step(step, TOTAL)
        with torch.no_grad():
            for weight in prunable_weights(model).values():
                weight.add_(0.1 * torch.randn_like(weight))
        hook.after_step(step, TOTAL)
        yield step


def test_every_step_keeps_as_many_weights_of_each_layer_as_erk_asks_for():
    model = new_model()
    (hook,) = start_sparse(model, train_config(), seed=0).hooks
    shapes = {name: weight.shape for name, weight in prunable_weights(model).items()}
    wanted = kept_weights(shapes, density=0.2, ratios="erk")
    assert counts(model) == wanted
    assert counted_sparsity(model) == pytest.approx(0.8, abs=1e-3)
    assert all(counts(model) == wanted for _ in steps(model, hook))


def test_masks_change_until_the_stop_and_not_after():
    model = new_model()
    (hook,) = start_sparse(model, train_config(), seed=0).hooks
    seen = [masks(model)] + [masks(model) for _ in steps(model, hook)]
    changed = [
        step
        for step in range(1, TOTAL + 1)
        if any((seen[step][name] != seen[step - 1][name]).any() for name in seen[0])
    ]
    assert changed[0] == 4
    assert set(changed) <= {4, 8, 12, 16, 20, 24, 28}
    assert [hook.settled(step, TOTAL) for step in (29, 30, TOTAL)] == [False, True, True]
    assert hook.updates_until(TOTAL) == 7


def test_an_exchange_drops_the_least_magnitudes_and_grows_the_largest_gradients_from_zero():
    layer = nn.Linear(4, 2, bias=False)
    hook = RiglHook({"layer": layer.weight}, {"layer": 4}, settings(update_interval_steps=1, stop_fraction=1.0), seed=0)
    hook.load_state_dict({"layer": torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]).bool(), "total": torch.tensor(0)})
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, -4.0, 0.2, 3.0], [0.0, 0.0, 0.0, 0.0]]))
    layer.weight.grad = torch.tensor([[0.0, 9.0, 0.5, 0.0], [1.0, -8.0, 2.0, 0.1]])
    hook.before_step(1, 1000)  # half of four
    mask = hook.state_dict()["layer"]
    assert mask.tolist() == [[False, True, False, True], [False, True, True, False]]
    assert layer.weight.tolist() == [[0.0, -4.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0]]
    assert layer.weight.grad.tolist() == [[0.0, 9.0, 0.0, 0.0], [0.0, -8.0, 2.0, 0.0]]


def test_the_exchanged_share_falls_along_a_cosine():
    hook = RiglHook({}, {}, settings(), seed=0)
    assert hook.fraction_at(0, TOTAL) == 0.5
    assert hook.fraction_at(15, TOTAL) == pytest.approx(0.25)
    assert hook.fraction_at(30, TOTAL) == pytest.approx(0.0)


@pytest.mark.parametrize("interrupted_after", [1, 17, 35])
def test_a_hook_goes_on_from_its_state(interrupted_after):
    whole, first, second = new_model(), new_model(), new_model()
    (hook,) = start_sparse(whole, train_config(), seed=3).hooks
    list(steps(whole, hook))
    (hook,) = start_sparse(first, train_config(), seed=3).hooks
    next(step for step in steps(first, hook) if step == interrupted_after)
    (again,) = start_sparse(second, train_config(), seed=9).hooks  # as a fit that resumes: then comes the checkpoint
    second.load_state_dict(first.state_dict())
    again.load_state_dict(hook.state_dict())
    list(steps(second, again, start=interrupted_after))
    assert all(torch.equal(weight, whole.state_dict()[name]) for name, weight in second.state_dict().items())


def test_a_fitted_model_is_as_sparse_as_asked(images):
    labels = torch.arange(6) % 2
    split = Split(InMemory(images, labels))
    model = new_model()
    sparse = start_sparse(model, train_config(update_interval_steps=1), seed=0)
    result = fit(
        model,
        split,
        split,
        train_config(),
        task=Classification(["a", "b"]),
        seed=0,
        device=torch.device("cpu"),
        hooks=sparse.hooks,
    )
    assert counted_sparsity(result.model) == pytest.approx(0.8, abs=1e-3)
    flops = sparse.count_flops(result.model, images, steps=result.steps, batch_size=6)
    assert 0.2 < flops.sparse / flops.dense < 0.6


def test_operations_are_those_of_the_paper():
    model = nn.Sequential(nn.Linear(10, 20, bias=False), nn.Linear(20, 5, bias=False))
    sparse = start_sparse(model, train_config(ratios="uniform", skip=["1"]), seed=0)
    (hook,) = sparse.hooks
    list(steps(model, hook))
    sparse_layer, other = 2 * 10 * 20, 2 * 20 * 5
    flops = sparse.count_flops(model, torch.ones(3, 10), steps=TOTAL, batch_size=7)
    assert flops.dense == 7 * TOTAL * 3 * (sparse_layer + other)
    updates = 7
    per_step = 3 * (0.2 * sparse_layer + other)
    assert flops.sparse == pytest.approx(7 * (TOTAL * per_step + updates * 0.8 * sparse_layer))
    assert sparse.left_alone == {"1": "named in train.sparse.skip"}


def test_plain_training_has_no_hook(images):
    sparse = start_sparse(new_model(), fit_config_without_sparse(), seed=0)
    assert sparse.hooks == []
    assert sparse.count_flops(new_model(), images, steps=1, batch_size=1) is None


def fit_config_without_sparse():
    from overwinter.config.groups import TrainConfig

    return TrainConfig(**asdict(fit_settings()), version=1, method="fit")


def test_what_cannot_be_made_sparse_is_refused():
    with pytest.raises(ConfigError, match=r"train.sparse.skip='head' matches no layer"):
        start_sparse(new_model(), train_config(skip=["head"]), seed=0)
    with pytest.raises(ConfigError, match="finds no layer to make sparse"):
        start_sparse(new_model(), train_config(skip=["*"]), seed=0)
    with pytest.raises(OverwinterError, match="some would be emptied"):
        start_sparse(nn.Linear(2, 2), train_config(amount=0.99), seed=0)
