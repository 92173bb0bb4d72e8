import numpy as np
import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.signature import Signature, TensorSpec

TEXT = Signature(
    inputs=(
        TensorSpec(name="input_ids", dtype="int64", shape=(None, None)),
        TensorSpec(name="scores", dtype="float32", shape=(None, 3)),
    ),
    outputs=(TensorSpec(name="output", dtype="float32", shape=(None, 2)),),
)


def test_json_keeps_everything():
    assert Signature.from_json(TEXT.to_json()) == TEXT


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"inputs": [], "outputs": []},
        {"inputs": "input", "outputs": []},
        {"inputs": [{"name": "input"}], "outputs": []},
        {"inputs": [{"name": 1, "dtype": "float32", "shape": []}], "outputs": []},
        {"inputs": [{"name": "input", "dtype": "float16", "shape": []}], "outputs": []},
        {"inputs": [{"name": "input", "dtype": "float32", "shape": [-1]}], "outputs": []},
        {"inputs": [{"name": "input", "dtype": "float32", "shape": [True]}], "outputs": []},
        {"inputs": [{"name": "input", "dtype": "float32", "shape": 3}], "outputs": []},
    ],
)
def test_malformed_json_is_refused(entry):
    with pytest.raises(ValueError, match=r"."):
        Signature.from_json(entry)


def test_one_input():
    signature = Signature.of_one([1, 8, 8], output=[10])
    assert signature.names == ("input",)
    assert signature.sample_shape == (1, 8, 8)
    assert signature.outputs[0].shape == (None, 10)
    assert TEXT.sample_shape == ()
    assert TEXT.input_shapes() == {"input_ids": (None, None), "scores": (None, 3)}


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_arrays_and_tensors_that_fit_pass(kind):
    for samples, length in ((1, 7), (4, 2)):
        TEXT.check(
            {"scores": kind(np.ones((samples, 3), np.float32)), "input_ids": kind(np.ones((samples, length), int))}
        )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((2, 3), np.float32), "Samples are called input; the model takes input_ids, scores"),
        (
            {"input_ids": np.ones((2, 5), np.float32), "scores": np.ones((2, 3), np.float32)},
            "Samples: input_ids: float32 [2, 5]; the model takes input_ids: int64 [any, any]",
        ),
        (
            {"input_ids": np.ones((2, 5), np.int64), "scores": np.ones((2, 4), np.float32)},
            "Samples: scores: float32 [2, 4]; the model takes scores: float32 [any, 3]",
        ),
        (
            {"input_ids": np.ones(2, np.int64), "scores": np.ones((2, 3), np.float32)},
            "Samples: input_ids: int64 [2]; the model takes",
        ),
    ],
)
def test_others_are_refused_with_both(inputs, message):
    with pytest.raises(ConfigError) as raised:
        TEXT.check(inputs, what="Samples")
    assert message in str(raised.value)
