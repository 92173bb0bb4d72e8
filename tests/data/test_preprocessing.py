import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from overwinter.data import as_json, check_preprocessing, prepare
from overwinter.errors import ConfigError

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
