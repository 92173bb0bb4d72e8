import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.sparsity import hold_masks


def sparse_model(share=0.5):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    with torch.no_grad():
        for name in ("0", "2"):
            weight = model.get_submodule(name).weight
            weight.masked_fill_(torch.rand_like(weight) < share, 0.0)
    return model


@given(share=st.floats(0.2, 1.0), steps=st.integers(1, 5))
def test_what_is_zero_stays_zero_whatever_moves_the_weights(share, steps):
    model = sparse_model(share)
    weights = [model[0].weight, model[2].weight]
    masks, zeros = hold_masks(model, ["0", "2"]), [weight == 0 for weight in weights]
    for step in range(1, steps + 1):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        masks.after_step(step, steps)
    assert all(torch.equal(weight == 0, zero) for weight, zero in zip(weights, zeros, strict=True))
    assert masks.settled(1, steps)
    masks.refuse_broken()


def test_masks_broken_by_training_are_refused_with_the_layer():
    model = sparse_model()
    masks = hold_masks(model, ["0", "2"])
    with torch.no_grad():
        model[2].weight.add_(1.0)
    with pytest.raises(OverwinterError, match=r"removed weights are no longer zero, \d+ of them in 2"):
        masks.refuse_broken()


def test_a_dense_model_has_no_masks_to_hold():
    with pytest.raises(ConfigError, match=r"None of the weights of 1 layers is zero"):
        hold_masks(nn.Sequential(nn.Linear(3, 3)), ["0"])


def test_masks_go_through_a_checkpoint():
    model = sparse_model()
    masks, other = hold_masks(model, ["0", "2"]), hold_masks(sparse_model(0.9), ["0", "2"])
    other.load_state_dict(masks.state_dict())
    assert all(torch.equal(mask, other.state_dict()[name]) for name, mask in masks.state_dict().items())


def test_masks_under_a_prefix_hold_its_layers_alone():
    model = nn.ModuleDict({"a": sparse_model(), "b": sparse_model()})
    masks = hold_masks(model, ["a.0", "b.0"]).under("a.")
    assert list(masks.weights) == ["a.0"]
    zeros = model["b"][0].weight == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    masks.after_step(1, 1)
    masks.refuse_broken()
    assert not bool((model["b"][0].weight[zeros] == 0).any())
