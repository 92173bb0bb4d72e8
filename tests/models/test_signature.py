import numpy as np
import pytest
import torch
from torch import nn

from overwinter import models
from overwinter.errors import ConfigError, IntegrityError
from overwinter.signature import Signature, TensorSpec


class Lengths(nn.Module):
    """Reads sequences of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.drop = nn.Embedding(8, 4), nn.Dropout()

    def forward(self, tokens, weights=None):
        states = self.drop(self.embedding(tokens))
        return states if weights is None else states * weights[..., None]


def sample(length):
    return {"tokens": torch.arange(length)[None] % 8, "weights": torch.ones(1, length)}


def test_axes_vary_where_samples_do():
    model = models.adapt(Lengths()).train()
    model.drop.eval()
    found = models.find_signature(model, [sample(3), sample(5)])
    assert found.inputs == (
        TensorSpec(name="tokens", dtype="int64", shape=(None, None)),
        TensorSpec(name="weights", dtype="float32", shape=(None, None)),
    )
    assert found.outputs == (TensorSpec(name="output", dtype="float32", shape=(None, None, 4)),)
    assert (model.training, model.drop.training) == (True, False)
    assert models.find_signature(model, [sample(3), sample(3)]).inputs[0].shape == (None, 3)


def test_one_tensor_is_called_input_and_may_be_an_array():
    found = models.find_signature(nn.Linear(3, 2), [np.ones((1, 3), np.float32)])
    assert found == Signature.of_one([3], output=[2])


@pytest.mark.parametrize(
    ("singles", "message"),
    [
        ([], "no samples"),
        ([sample(3), {"tokens": torch.zeros(1, 3, dtype=torch.int64)}], "different inputs: tokens, weights and tokens"),
        ([torch.zeros(1, 3, dtype=torch.int32)], "input is int32; models take float32, int64, bool"),
        ([torch.zeros(1, 3)], r"cannot take one sample of the data \(input: float32 \[any, 3\]\): RuntimeError"),
    ],
)
def test_samples_that_tell_nothing_are_refused(singles, message):
    with pytest.raises(ConfigError, match=message):
        models.find_signature(models.adapt(Lengths()), singles)


def test_a_malformed_signature_is_told():
    with pytest.raises(IntegrityError, match="malformed signature"):
        models.signature_of({"signature": {"inputs": []}})
