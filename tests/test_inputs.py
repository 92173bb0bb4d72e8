"""Batches of one tensor, or of several by name."""

import numpy as np
import pytest
import torch

from overwinter import inputs

ONE = np.arange(12, dtype=np.float32).reshape(6, 2)
SEVERAL = {"input_ids": np.arange(12).reshape(6, 2), "attention_mask": np.ones((6, 2), dtype=np.int64)}


@pytest.mark.parametrize("batch", [ONE, SEVERAL, torch.from_numpy(ONE)])
def test_chunks_together_are_the_whole_batch(batch):
    parts = list(inputs.chunks(batch, 4))

    assert [inputs.count(part) for part in parts] == [4, 2]
    for name, whole in inputs.named(batch).items():
        assert np.array_equal(np.concatenate([np.asarray(inputs.named(part)[name]) for part in parts]), whole)


@pytest.mark.parametrize("batch", [ONE, SEVERAL])
def test_arrays_survive_the_way_to_tensors_and_back(batch):
    back = inputs.to_arrays(inputs.move(inputs.to_tensors(batch), "cpu"))

    for name, value in inputs.named(back).items():
        assert value.dtype == inputs.named(batch)[name].dtype
        assert np.array_equal(value, inputs.named(batch)[name])


def test_a_single_tensor_is_called_input_and_names_are_kept():
    assert list(inputs.named(ONE)) == ["input"]
    assert list(inputs.take(SEVERAL, [0, 3])) == ["input_ids", "attention_mask"]
    assert inputs.take(SEVERAL, [0, 3])["input_ids"].tolist() == [[0, 1], [6, 7]]
