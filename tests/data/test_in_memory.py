import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.data import InMemory, RandomFlip, spread_inputs, tensors
from overwinter.data.in_memory import shuffled_by_class
from overwinter.errors import ConfigError


def test_items_are_a_tensor_and_an_int():
    inputs, label = InMemory(torch.ones(3, 2), torch.tensor([0, 1, 2]))[1]
    assert torch.equal(inputs, torch.ones(2))
    assert label == 1
    assert type(label) is int


def test_tensors_are_never_augmented():
    split = InMemory(torch.randn(4, 1, 2, 2), torch.arange(4), transform=RandomFlip())
    assert torch.equal(tensors(split)[0], split.inputs)
    assert len(tensors(split, limit=3)[1]) == 3


def test_any_map_style_dataset_becomes_tensors():
    samples = [(torch.full((2,), float(number)), number) for number in range(5)]
    inputs, labels = tensors(samples, limit=4)
    assert inputs.shape == (4, 2)
    assert labels.tolist() == [0, 1, 2, 3]


def test_no_samples_are_refused():
    with pytest.raises(ConfigError, match="0 samples"):
        tensors([])


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 9))
def test_spread_inputs_come_from_every_stretch_and_none_twice(total, count, seed):
    inputs = torch.arange(total).float()[:, None]
    drawn = spread_inputs(InMemory(inputs, torch.zeros(total)), count, seed=seed).flatten()
    assert len(set(drawn.tolist())) == min(count, total)
    gaps = drawn.sort().values.diff(prepend=torch.tensor([0.0]), append=torch.tensor([float(total)]))
    assert float(gaps.max()) <= 2 * (total // min(count, total) + 1)
    assert torch.equal(drawn, spread_inputs(list(zip(inputs, [0] * total, strict=True)), count, seed=seed).flatten())


def test_spread_inputs_are_in_random_order():
    drawn = spread_inputs(InMemory(torch.arange(90.0)[:, None], torch.zeros(90)), 30, seed=0).flatten()
    assert {int(number) // 30 for number in drawn[:10]} == {0, 1, 2}


def test_spread_inputs_of_nothing_are_refused():
    with pytest.raises(ConfigError, match="no samples"):
        spread_inputs([], 3, seed=0)


def test_inputs_and_labels_must_match():
    with pytest.raises(ConfigError, match="3 inputs have 2 labels"):
        InMemory(torch.ones(3, 1), torch.zeros(2))


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99), cut=st.floats(0, 1))
def test_any_cut_of_the_order_is_stratified(counts, seed, cut):
    labels = np.repeat(np.arange(len(counts)), counts)
    order = shuffled_by_class(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    head = labels[order[: round(cut * len(labels))]]
    for label, count in enumerate(counts):
        assert abs((head == label).sum() - cut * count) <= 2 + len(counts)
