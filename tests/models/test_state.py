import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from overwinter.models import drop_negative_zeros, is_finite, replace_layer, twin

NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -3e38, 3e38, float("nan"), float("inf"), -float("inf")])


@given(numbers=st.lists(NUMBERS, max_size=6), kind=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
def test_finite_is_what_torch_says(numbers, kind):
    tensor = torch.tensor(numbers, dtype=kind)
    assert is_finite(tensor) is bool(tensor.isfinite().all())


@pytest.fixture
def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    return model.eval()


def test_a_twin_is_the_same_memory_in_a_module_of_its_own(tied):
    second = twin(tied)
    pairs = list(zip(tied.parameters(), second.parameters(), strict=True))
    assert all(a is not b and a.data_ptr() == b.data_ptr() and a.requires_grad == b.requires_grad for a, b in pairs)
    assert second[2].weight is second[0].weight
    assert not second.training


def test_what_happens_to_a_twin_leaves_the_first_as_it_was(tied):
    inputs, weight = torch.randn(4, 3), tied[0].weight
    before = tied(inputs)
    second = twin(tied)
    second[1].running_mean.fill_(9.0)
    replace_layer(second, "2", nn.Identity())
    second.bfloat16()
    assert second[0].weight.dtype is torch.bfloat16
    assert torch.equal(tied(inputs), before)
    assert tied[2].weight is tied[0].weight is weight


def test_negative_zeros_are_dropped_and_nothing_else(tied):
    weight = next(iter(tied.parameters()))
    with torch.no_grad():
        weight[0] = -0.0
    before = weight.detach().clone()
    drop_negative_zeros(tied)
    assert torch.equal(weight, before)
    assert not torch.signbit(weight[0]).any()
