from types import MappingProxyType

import numpy as np
import pytest
import torch

from overwinter.data.samples import as_input, as_sample, collate, read_batch
from overwinter.errors import ConfigError

NUMBERS = torch.tensor([0.5, -1.25])
TOKENS = torch.tensor([3, 1])


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS,
        NUMBERS.double(),
        NUMBERS.half(),
        NUMBERS.bfloat16(),
        NUMBERS.numpy(),
        NUMBERS.double().numpy(),
        NUMBERS.half().numpy(),
        NUMBERS.numpy().astype(">f8"),
        NUMBERS.numpy()[::-1].copy()[::-1],
        NUMBERS.tolist(),
        tuple(np.float64(each) for each in NUMBERS),
    ],
    ids=repr,
)
def test_an_input_of_any_width_of_float_is_float32(value):
    assert as_input(value).dtype == torch.float32
    assert torch.equal(as_input(value), NUMBERS)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_whole_numbers_stay_whole(dtype):
    assert as_input(TOKENS.to(dtype)).dtype == torch.int64
    assert torch.equal(as_input(TOKENS.to(dtype)), TOKENS)


def test_truth_values_stay():
    assert as_input(np.array([True, False])).dtype == torch.bool


def test_a_float32_tensor_is_not_copied():
    assert as_input(NUMBERS) is NUMBERS


def test_several_inputs_are_known_by_name_or_place():
    assert {name: part.tolist() for name, part in as_input({"ids": [3, 1], "mask": [1, 1]}).items()} == {
        "ids": [3, 1],
        "mask": [1, 1],
    }
    assert as_input((NUMBERS, TOKENS)).keys() == {"0", "1"}
    assert as_input((NUMBERS.numpy(), TOKENS))["0"].dtype == torch.float32


def test_a_name_is_no_use_for_the_only_input():
    assert as_input({"pixels": NUMBERS}) is NUMBERS


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", r"An input is 'text' \(str\). Return a tensor"),
        (None, "An input is None"),
        ([[1.0], [1.0, 2.0]], "An input is"),
        ({"ids": [1], "text": "cat"}, r"The input 'text' is 'cat'"),
        ({}, "a target and no input"),
        (torch.ones(2, dtype=torch.complex64), "Inputs are torch.complex64"),
    ],
)
def test_what_is_no_array_is_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        as_input(value)


@pytest.mark.parametrize("name", ["label", "labels", "target", "targets"])
def test_a_mapping_names_its_target(name):
    inputs, target = as_sample(MappingProxyType({"ids": TOKENS, name: 2}))
    assert inputs.keys() == {"ids"}
    assert target == 2


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (NUMBERS, "A sample is a Tensor of the shape.*Return a pair"),
        ((NUMBERS,), "A sample is .*Return a pair"),
        ((NUMBERS, NUMBERS, 2), "A sample is .*a tuple of tensors"),
        ({"ids": TOKENS, "class": 1}, "has the keys ids, class, and none is its target. Call it labels"),
    ],
)
def test_what_is_no_sample_is_refused(sample, message):
    with pytest.raises(ConfigError, match=message):
        as_sample(sample)


@pytest.mark.parametrize(
    ("targets", "dtype", "shape"),
    [
        ([1, 2], torch.int64, (2,)),
        ([0.5, 2.0], torch.float32, (2,)),
        ([True, False], torch.bool, (2,)),
        ([np.int32(1), np.int32(2)], torch.int32, (2,)),
        ([torch.tensor([1]), torch.tensor([2])], torch.int64, (2, 1)),
        ([torch.tensor([1]), 2], torch.int64, (2,)),
        ([np.zeros(3), np.ones(3)], torch.float64, (2, 3)),
    ],
)
def test_targets_are_collated_as_they_are(targets, dtype, shape):
    found = collate([(NUMBERS, target) for target in targets])[1]
    assert found.dtype == dtype
    assert found.shape == shape


@pytest.mark.parametrize("target", ["cat", None, b"x"])
def test_what_is_no_number_is_no_target(target):
    with pytest.raises(ConfigError, match="A target is"):
        collate([(NUMBERS, target)])


def test_inputs_of_other_shapes_make_no_batch_unless_padded():
    samples = [({"ids": [1, 2, 3], "mask": [1, 1, 1]}, [4, 5, 6]), ({"ids": [7], "mask": [1]}, [8])]
    with pytest.raises(ConfigError, match=r"Inputs 'ids' have the shapes \[1\] and \[3\].*attribute `pad`"):
        collate(samples)
    with pytest.raises(ConfigError, match="Inputs 'mask' have the shapes"):
        collate(samples, {"ids": 9})
    inputs, targets = collate(samples, {"ids": 9, "mask": 0})
    assert inputs["ids"].tolist() == [[1, 2, 3], [7, 9, 9]]
    assert inputs["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert targets.tolist() == [[4, 5, 6], [8, -100, -100]]
    assert collate(samples, {"ids": 9, "mask": 0, "targets": -1})[1].tolist() == [[4, 5, 6], [8, -1, -1]]


def test_one_number_pads_every_axis_of_every_input():
    inputs, _ = collate([(torch.ones(2, 1), 0), (torch.ones(1, 3), 1)], 0)
    assert inputs.tolist() == [[[1, 0, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]]


def test_samples_with_other_inputs_make_no_batch():
    with pytest.raises(ConfigError, match="has the inputs a, b, another one a, c"):
        collate([({"a": [1], "b": [1]}, 0), ({"a": [1], "c": [1]}, 0)])


def test_what_an_own_collate_made_is_checked():
    inputs, targets = read_batch({"ids": TOKENS.to(torch.int32), "mask": TOKENS, "labels": [0, 1]})
    assert inputs["ids"].dtype == torch.int64
    assert targets.tolist() == [0, 1]
    with pytest.raises(ConfigError, match=r"shapes \[2\], \[3\]. Their first axis is the batch"):
        read_batch((NUMBERS, torch.zeros(3)))
