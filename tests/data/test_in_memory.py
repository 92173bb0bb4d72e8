import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.data import InMemory
from overwinter.data.in_memory import shuffled_by_class
from overwinter.errors import ConfigError


def test_a_sample_is_an_input_and_its_target():
    inputs, target = InMemory(torch.ones(3, 2), [0, 1, 2])[1]
    assert torch.equal(inputs, torch.ones(2))
    assert target == 1


def test_several_inputs_are_named():
    first, second = torch.ones(3, 2), np.zeros((3, 4))
    by_name = InMemory({"first": first, "second": second}, torch.arange(3))
    assert by_name[0][0].keys() == {"first", "second"}
    assert InMemory((first, second), torch.arange(3))[0][0].keys() == {"0", "1"}
    assert torch.equal(InMemory({"only": first}, torch.arange(3)).inputs, first)


def test_inputs_and_targets_must_match():
    with pytest.raises(ConfigError, match="3 inputs have 2 targets"):
        InMemory(torch.ones(3, 1), torch.zeros(2))
    with pytest.raises(ConfigError, match="1 inputs 'b' have 2 targets"):
        InMemory({"a": torch.ones(2), "b": torch.ones(1)}, torch.zeros(2))


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99), cut=st.floats(0, 1))
def test_any_cut_of_the_order_is_stratified(counts, seed, cut):
    labels = np.repeat(np.arange(len(counts)), counts)
    order = shuffled_by_class(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    head = labels[order[: round(cut * len(labels))]]
    for label, count in enumerate(counts):
        assert abs((head == label).sum() - cut * count) <= 2 + len(counts)
