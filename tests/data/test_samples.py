import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.data import Batches, InMemory, as_sample, tensors
from overwinter.data.samples import as_input, as_label, collate
from overwinter.errors import ConfigError

LABELS = [
    3,
    np.int32(3),
    np.uint8(3),
    np.float32(3.0),
    np.array(3),
    np.array([3]),
    3.0,
    torch.tensor(3, dtype=torch.int32),
    torch.tensor(3.0),
    torch.tensor([3]),
    torch.tensor([[3]]),
    [3],
]


@pytest.mark.parametrize("label", LABELS, ids=repr)
def test_a_label_of_any_type_is_an_int(label):
    assert as_label(label) == 3
    assert type(as_label(label)) is int


@pytest.mark.parametrize(("label", "number"), [(True, 1), (False, 0), (np.bool_(True), 1), (torch.tensor(True), 1)])
def test_a_truth_value_is_a_class(label, number):
    assert as_label(label) == number


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (0.25, "A label is 0.25, which is no class.*regression on numbers is not supported yet"),
        (torch.tensor(0.75), "A label is 0.75"),
        (np.float64("nan"), "A label is nan"),
        (-100, "A label is -100. Labels go from 0"),
        (torch.tensor(-1), "A label is -1"),
        ("cat", r"A label is 'cat' \(str\). Return the number of its class"),
        (None, "A label is None"),
        (torch.tensor([0.0, 1.0, 0.0]), r"a Tensor of the shape \[3\]"),
        (1j, "A label is 0.1j"),
    ],
)
def test_what_is_no_class_is_refused(label, message):
    with pytest.raises(ConfigError, match=message):
        as_label(label)


NUMBERS = torch.tensor([0.5, -1.25])


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


def test_a_float32_tensor_is_not_copied():
    assert as_input(NUMBERS) is NUMBERS


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_inputs_whose_scale_we_cannot_know_are_refused(dtype):
    with pytest.raises(ConfigError, match=rf"Inputs are {dtype}. Return float32 tensors: `x.float\(\) / 255`"):
        as_input(torch.ones(3, dtype=dtype))


@pytest.mark.parametrize("value", ["text", None, object(), [[1.0], [1.0, 2.0]]])
def test_what_is_no_array_is_refused(value):
    with pytest.raises(ConfigError, match=r"An input is .*Return a float32 tensor"):
        as_input(value)


@pytest.mark.parametrize("sample", [NUMBERS, (NUMBERS,), (NUMBERS, 1, 2), {"input": NUMBERS, "label": 1}])
def test_what_is_no_pair_is_refused(sample):
    with pytest.raises(ConfigError, match=r"A sample is .*Return a pair"):
        as_sample(sample)


def test_inputs_of_other_shapes_make_no_batch():
    with pytest.raises(ConfigError, match=r"the shapes \[2\] and \[3\], which no batch can hold"):
        collate([(torch.ones(3), 0), (torch.ones(2), 0)])


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=9), data=st.data())
def test_a_split_of_mixed_types_is_the_split_of_ints(labels, data):
    kinds = [int, float, np.int16, lambda label: torch.tensor([label]), lambda label: np.array(float(label))]
    mixed = [(NUMBERS.double().tolist(), data.draw(st.sampled_from(kinds))(label)) for label in labels]
    inputs, found = tensors(mixed)
    assert inputs.dtype == torch.float32
    assert found.dtype == torch.int64
    assert found.tolist() == labels
    batch = next(Batches(mixed, batch_size=len(mixed), seed=0, device=torch.device("cpu")).epoch(0))
    assert sorted(batch[1].tolist()) == sorted(labels)
    assert batch[0].dtype == torch.float32


@pytest.mark.parametrize("labels", [torch.tensor([0, 1], dtype=torch.int32), torch.tensor([[0.0], [1.0]])])
def test_splits_in_memory_are_converted_once(labels):
    split = InMemory(torch.ones(2, 3, dtype=torch.float64), labels)
    assert split.inputs.dtype == torch.float32
    assert torch.equal(split.labels, torch.tensor([0, 1]))


def test_numbers_to_be_predicted_are_refused_in_memory_too():
    with pytest.raises(ConfigError, match="regression"):
        InMemory(torch.ones(2, 3), torch.tensor([0.0, 0.5]))
