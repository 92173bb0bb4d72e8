"""Muon for matrices beside AdamW."""

import pytest
import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.training.muon import MuonAndAdamW, matrices_of
from overwinter.training.optimizer_state import load_state, split_state
from tests.training.test_loop import Dies, same_bits, weights


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(16, 3))


def optimizer_of(model):
    matrices = matrices_of(model)
    rest = [each for each in model.parameters() if not any(each is matrix for matrix in matrices)]
    groups = [{"params": rest, "weight_decay": 0.0}]
    return MuonAndAdamW(matrices, groups, matrix_learning_rate=0.1, learning_rate=0.01, weight_decay=0.0)


def stepped(model, optimizer, seed=1):
    torch.manual_seed(seed)
    model(torch.randn(5, 2, 6, 6)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_kernels_are_matrices_and_the_last_layer_is_not():
    model = network()
    assert [each.shape for each in matrices_of(model)] == [model[0].weight.shape, model[2].weight.shape]


def test_embeddings_and_frozen_weights_are_not():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight.requires_grad_(False)
    assert [id(each) for each in matrices_of(model)] == [id(model[2].weight)]


def test_a_model_without_matrices_is_refused():
    with pytest.raises(ConfigError, match="muon_learning_rate is set, and Linear has no matrix"):
        matrices_of(nn.Linear(3, 2))


def test_a_step_along_a_kernel_is_nearly_orthogonal():
    model = network()
    before = model[0].weight.detach().clone()
    stepped(model, optimizer_of(model))
    moved = (before - model[0].weight.detach()).flatten(1) / 0.1  # (6, 18)
    singular = torch.linalg.svdvals(moved)
    assert singular.max() < 1.3
    assert singular.median() > 0.6


def test_the_rest_is_stepped_by_adamw():
    model, twin = network(), network()
    stepped(model, optimizer_of(model))
    stepped(twin, torch.optim.AdamW(twin.parameters(), lr=0.01, weight_decay=0.0))
    assert torch.equal(model[4].weight, twin[4].weight)
    assert torch.equal(model[1].bias, twin[1].bias)
    assert not torch.equal(model[2].weight, twin[2].weight)


def test_the_memory_layout_changes_nothing():
    model = network()
    optimizer = optimizer_of(model)
    other = network().to(memory_format=torch.channels_last)
    other_optimizer = optimizer_of(other)
    for seed in (1, 2):
        stepped(model, optimizer, seed)
        stepped(other, other_optimizer, seed)
    assert torch.allclose(model[2].weight, other[2].weight, atol=2e-3)  # Muon multiplies in bfloat16


def test_its_state_goes_through_a_checkpoint():
    model = network()
    optimizer = optimizer_of(model)
    stepped(model, optimizer)
    taken_up = network()
    taken_up.load_state_dict(model.state_dict())
    other = optimizer_of(taken_up)
    tensors, plain = split_state(optimizer)
    load_state(other, {name: tensor.clone() for name, tensor in tensors.items()}, plain)
    stepped(model, optimizer, 2)
    stepped(taken_up, other, 2)
    assert same_bits(model.state_dict(), taken_up.state_dict())


@pytest.mark.parametrize("step", [2, 6, 8])
def test_a_killed_fit_ends_with_equal_bits(fit, new_model, tmp_path, step):
    def two_convolutions():
        model = new_model()
        torch.manual_seed(4)
        return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), *model)

    settings = {"muon_learning_rate": 0.02}
    with pytest.raises(Dies.Killed):
        fit(model=two_convolutions(), loss=Dies(step), checkpoints=tmp_path, **settings)
    resumed = fit(model=two_convolutions(), checkpoints=tmp_path, **settings)
    assert resumed.resumed
    assert same_bits(weights(resumed), weights(fit(model=two_convolutions(), **settings)))


def test_the_schedule_leads_both(fit, new_model):
    slow = fit(muon_learning_rate=1e-9, learning_rate=1e-9, weight_decay=0.0)
    assert torch.allclose(slow.model[0].weight, new_model()[0].weight, atol=1e-6)
