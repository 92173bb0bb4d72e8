import numpy as np
import torch

from overwinter.calibration.batches import as_batches, count_samples, first_samples, split_batches, to_tensors


def texts(count, length):
    return {"input_ids": np.zeros((count, length), np.int64), "attention_mask": np.ones((count, length), np.int64)}


def lengths(batches):
    return [each["input_ids"].shape for each in batches]


def test_one_batch_or_several_become_batches_without_the_empty_ones():
    assert len(as_batches(np.zeros((2, 3)))) == 1
    assert lengths(as_batches([texts(2, 5), texts(0, 5), texts(1, 7)])) == [(2, 5), (1, 7)]


def test_samples_are_taken_across_batches_of_other_lengths():
    batches = as_batches([texts(2, 5), texts(3, 7)])
    assert count_samples(batches) == 5
    assert lengths(first_samples(batches, 1)) == [(1, 5)]
    assert lengths(first_samples(batches, 4)) == [(2, 5), (2, 7)]
    assert lengths(split_batches(batches, 2)) == [(2, 5), (2, 7), (1, 7)]


def test_tensors_keep_their_type():
    (batch,) = to_tensors((texts(2, 5),))
    assert batch["input_ids"].dtype == torch.int64
