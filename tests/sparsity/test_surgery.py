import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.sparsity import find_channel_groups
from overwinter.sparsity.surgery import Cut, channel_importance, remove_channels, silence_channels
from tests.sparsity import zoo
from tests.sparsity.test_dependencies import FOUND, IMAGES


@settings(max_examples=30)
@given(kind=st.sampled_from(sorted(set(FOUND) - {"HardCoded"})), seed=st.integers(0, 1000))
def test_removed_channels_give_the_answers_of_a_silenced_model(kind, seed):
    model = zoo.new(kind)
    generator = torch.Generator().manual_seed(seed)
    smaller, silenced = copy.deepcopy(model), copy.deepcopy(model)
    cuts = []
    for group in find_channel_groups(model, IMAGES)[0]:
        count = int(torch.randint(1, group.count + 1, (), generator=generator))
        cuts.append(Cut(group=group, keep=torch.randperm(group.count, generator=generator)[:count].sort().values))
    remove_channels(smaller, cuts)
    silence_channels(silenced, cuts)
    with torch.no_grad():
        assert torch.allclose(smaller(IMAGES), silenced(IMAGES), atol=1e-5)


def test_a_parameter_stays_the_object_that_it_was_and_its_users_hear_of_it():
    model, told = zoo.new("Plain"), []
    weight, group = model.second.weight, find_channel_groups(model, IMAGES)[0][0]
    cut = Cut(group=group, keep=torch.tensor([1, 4]))
    remove_channels(model, [cut], sliced=lambda parameter, dimension, keep: told.append((parameter, dimension, keep)))
    assert model.second.weight is weight
    assert weight.shape == (6, 2, 3, 3)
    assert [keep.tolist() for parameter, dimension, keep in told if parameter is weight and dimension == 1] == [[1, 4]]


def test_weights_stay_in_their_memory_layout():
    model = zoo.new("Plain").to(memory_format=torch.channels_last)
    group = find_channel_groups(model, IMAGES)[0][0]
    remove_channels(model, [Cut(group=group, keep=torch.tensor([1, 4]))])
    assert model.second.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_silent_normalisation_makes_a_channel_unimportant():
    model = zoo.new("Plain")
    with torch.no_grad():
        model.norm.weight[2] = 0.0
    assert channel_importance(model, find_channel_groups(model, IMAGES)[0][0]).argmin() == 2


@pytest.mark.parametrize("kind", ["Plain", "Gated", "Residual"])
def test_a_channel_that_no_one_listens_to_is_unimportant(kind):
    model = zoo.new(kind)
    group = find_channel_groups(model, IMAGES)[0][0]
    silence_channels(model, [Cut(group=group, keep=torch.arange(1, group.count))])
    importance = channel_importance(model, group)
    assert importance[0] == 0
    assert (importance[1:] > 0).all()
