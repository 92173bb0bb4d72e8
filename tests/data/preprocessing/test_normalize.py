import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from overwinter.data import Normalize, as_json, check_preprocessing, read_preprocessing
from overwinter.errors import ConfigError


def prepare(raw, content, input_shape):
    """Prepare as a bundle with this content does."""
    return read_preprocessing({"input": {"shape": list(input_shape)}, **content}).prepare(raw)


DIGITS = {
    "raw": {"dtype": "uint8", "shape": [8, 8], "range": [0, 16]},
    "input": {"dtype": "float32", "shape": [1, 8, 8]},
    "formula": "(raw - mean) / std",
    "mean": 4.9,
    "std": 6.0,
}


@given(hnp.arrays(np.uint8, (3, 8, 8), elements=st.integers(0, 16)))
def test_raw_pixels_become_model_input(raw):
    expected = ((raw.astype(np.float64) - 4.9) / 6.0).astype(np.float32)[:, None]
    np.testing.assert_array_equal(prepare(raw, DIGITS, [1, 8, 8]), expected)
    np.testing.assert_array_equal(prepare(raw[0].tolist(), DIGITS, [1, 8, 8]), expected[:1])


def test_no_preprocessing_leaves_the_input_as_it_is():
    raw = np.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(prepare(raw, {}, [2, 3]), raw.astype(np.float32))


def test_mean_and_std_may_differ_by_channel():
    prepared = prepare(np.ones((2, 4, 4)), {"mean": [1, 0], "std": [1, 2]}, [2, 4, 4])
    assert prepared.dtype == np.float32
    assert prepared[0, 0].max() == 0
    assert prepared[0, 1].min() == 0.5


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((8, 7)), r"shape \[8, 7\]; one sample has \[8, 8\] or \[1, 8, 8\]"),
        (np.full((8, 8), 17), "from 17 to 17; raw values are between 0 and 16"),
        (np.full((8, 8), np.nan), "NaN"),
        ([[1, 2], [3]], "not an array of numbers"),
        ("cat", "not an array of numbers"),
    ],
)
def test_wrong_inputs_are_refused(raw, message):
    with pytest.raises(ConfigError, match=message):
        prepare(raw, DIGITS, [1, 8, 8])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "log(raw)"}, "cannot be applied by a bundle"),
        ({"std": 0}, "above zero"),
        ({"mean": "none"}, "must be a number"),
        ({"mean": [[1.0]]}, "must be a number, or one per channel"),
    ],
)
def test_what_a_bundle_cannot_apply_is_found_before_it_is_written(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_preprocessing(DIGITS | changes)


def test_a_value_too_few_for_the_channels_is_refused():
    with pytest.raises(ConfigError, match="2 values for 3 channels"):
        prepare(np.zeros((3, 2, 2)), {"mean": [1, 2]}, [3, 2, 2])


@pytest.mark.parametrize(
    "raw", [[], "8", {"shape": 8}, {"shape": ["8"]}, {"shape": [-1]}, {"range": ["a", "b"]}, {"range": [0]}]
)
def test_a_raw_input_that_is_not_one_is_refused(raw):
    with pytest.raises(ConfigError, match=r"preprocessing\.raw="):
        prepare(np.zeros((1, 2)), {"raw": raw}, (2,))


def test_a_raw_type_that_is_no_name_is_refused_before_it_is_in_a_bundle():
    with pytest.raises(ConfigError, match=r"preprocessing\.raw\.dtype=5 must be the name"):
        check_preprocessing({"raw": {"dtype": 5}})


def test_a_raw_input_of_another_size_is_refused_and_the_models_own_taken():
    declared = {"raw": {"shape": [8, 8]}}
    with pytest.raises(ConfigError, match=r"raw\.shape=\[8, 8\] has not as many values as the model's \[4\]"):
        prepare(np.zeros((1, 8, 8)), declared, (4,))
    assert prepare(np.zeros((1, 4)), declared, (4,)).shape == (1, 4)


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5)],
    ids=lambda value: repr(type(value)),
)
def test_numbers_of_any_kind_are_kept_as_json(value):
    assert as_json({"mean": value, "raw": {"range": (np.int64(0), 1)}}) == {"mean": 0.5, "raw": {"range": [0, 1]}}


@pytest.mark.parametrize("value", [np.array([0.5, 0.25]), torch.tensor([0.5, 0.25]), (np.float32(0.5), 0.25)])
def test_one_number_per_channel_is_kept_as_a_list(value):
    assert as_json({"std": value}) == {"std": [0.5, 0.25]}


@given(hnp.arrays(np.uint8, (2, 8, 8), elements=st.integers(0, 16)))
def test_undoing_gives_the_raw_samples_back(raw):
    normalize = read_preprocessing(DIGITS)
    undone = normalize.undo(normalize.prepare(raw))
    assert undone.dtype == np.uint8
    np.testing.assert_array_equal(undone, raw)


@pytest.mark.parametrize(
    ("arguments", "inputs"),
    [
        ({"dtype": "uint8"}, [[-3.0, 2.0]]),
        ({"dtype": "uint8"}, [[2.0, 999.0]]),
        ({"dtype": "uint8"}, [[0.5, 2.25]]),
        ({"dtype": "bool"}, [[0.5, 1.0]]),
        ({"dtype": "uint8", "mean": 0.0, "std": 1 / 255}, [[0.1, 2.5]]),
    ],
)
def test_model_inputs_that_no_raw_sample_makes_are_refused(arguments, inputs):
    with pytest.raises(ConfigError, match="cannot come from such"):
        Normalize(shape=[2], **arguments).undo(np.array(inputs, np.float32))


def test_undone_values_out_of_range_are_refused_but_not_for_rounding():
    normalize = Normalize(0.3, 0.7, shape=[3], range=[0, 1])
    inputs = normalize.prepare([[0.0, 0.1, 1.0]])
    np.testing.assert_allclose(normalize.undo(np.nextafter(inputs, np.float32([-9, 0, 9]))), [[0, 0.1, 1]], atol=1e-6)
    with pytest.raises(ConfigError, match="raw values are between"):
        normalize.undo(inputs * 2)


def test_a_large_mean_loses_nothing_when_undone():
    normalize = Normalize(1e9, 1.0, shape=[2])
    inputs = np.float32([[0.25, -0.5]])
    np.testing.assert_array_equal(normalize.prepare(normalize.undo(inputs)), inputs)


@pytest.mark.parametrize("dtype", ["str", "object", "pixels", "complex64", ""])
def test_a_raw_type_that_is_no_number_is_refused(dtype):
    with pytest.raises(ConfigError, match="type of numbers"):
        Normalize(dtype=dtype)


@pytest.mark.parametrize("content", [DIGITS, {}, {"mean": [1, 2], "raw": {"shape": [2, 3]}}])
def test_its_json_makes_the_same_again(content):
    first = read_preprocessing(content)
    again = read_preprocessing(as_json(first))
    assert again.to_json() == first.to_json()
    assert again.raw_shapes == first.raw_shapes


def test_without_any_shape_every_batch_is_taken():
    np.testing.assert_array_equal(Normalize(1.0, 2.0).prepare([[1, 3, 5]]), [[0, 1, 2]])
