import numpy as np
import pytest
import torch

from overwinter.data.fingerprints import fingerprints, raw_bytes, row_fingerprints
from overwinter.inputs import take


@pytest.mark.parametrize(
    "inputs",
    [
        torch.randn(5, 2, 3),
        torch.arange(5),
        torch.tensor([True, False, True, True, False]),
        torch.randn(5, 4).bfloat16(),
        torch.randn(5, 4, 3).transpose(1, 2),
        {"ids": torch.arange(10).reshape(5, 2), "mask": torch.ones(5, 2)},
    ],
    ids=lambda inputs: str(getattr(inputs, "dtype", "several")),
)
def test_rows_of_a_batch_have_the_digests_of_its_samples(inputs):
    samples = [take(inputs, row) for row in range(5)]
    assert row_fingerprints(inputs).tolist() == fingerprints(samples).tolist()


def test_what_differs_has_another_digest():
    values = [torch.zeros(2), torch.ones(2), "a", "b", b"a\0", np.int64(3), {"a": 1}, {"b": 1}, {"a": 2}]
    assert len(set(fingerprints(values).tolist())) == len(values)


@pytest.mark.parametrize("value", [torch.tensor([1.0, 2.0]), np.array([1.0, 2.0], np.float32)])
def test_the_bytes_are_those_of_the_numbers(value):
    assert b"".join(raw_bytes(value)) == np.array([1.0, 2.0], np.float32).tobytes()
