"""A data source whose preprocessing is an object gives raw samples, and gets model inputs everywhere."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

from overwinter.data import Data, Image, InMemory, Normalize, as_json, check_splits
from overwinter.errors import ConfigError
from overwinter.tasks import Classification

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = [0, 1, 0, 1, 0, 1]


class Streamed(IterableDataset):
    def __iter__(self):
        return ({"image": pixels, "label": label} for pixels, label in zip(PIXELS, LABELS, strict=True))


class Numbers:
    """Bytes with a preprocessing, as samples or in memory."""

    labels = ("a", "b")
    preprocessing = Normalize(100.0, 50.0, dtype="uint8", shape=[5, 4, 3])

    def __init__(self, dataset):
        self._dataset = dataset

    def split(self, name):
        offset = ("train", "validation", "test").index(name)
        return self._dataset if offset == 0 else [(PIXELS[0] // 2 + offset, 0), (PIXELS[1] // 2 + offset, 1)]


SETS = {
    "samples": [(torch.from_numpy(pixels), label) for pixels, label in zip(PIXELS, LABELS, strict=True)],
    "in memory": InMemory(torch.from_numpy(PIXELS), torch.tensor(LABELS)),
    "streamed": Streamed(),
}


@pytest.mark.parametrize("kind", SETS)
def test_raw_samples_are_prepared_in_every_batch_and_kept_raw_for_the_canary(kind):
    data = Data(Numbers(SETS[kind])).use(Classification(("a", "b")))
    split = data.split("train")
    expected = (PIXELS.astype(np.float32) - 100) / 50
    for inputs in (split.first(6)[0], torch.cat([batch for batch, _ in split.batches(4)]), split.whole()[0]):
        assert inputs.dtype == torch.float32
        np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.stack(split.raw(2)), PIXELS[:2])
    np.testing.assert_array_equal(data.prepares.prepare(split.raw(2)), split.first(2)[0].numpy())
    assert check_splits(data) == ()


def test_images_of_any_size_are_one_batch():
    pytest.importorskip("PIL", reason="the extra images is not installed")
    pairs = [(PIXELS[0], 0), (PIXELS[1, :3], 1)]
    source = SimpleNamespace(labels=("a", "b"), preprocessing=Image([2, 2]), split=lambda name: pairs)
    inputs, targets = Data(source).split("train").first(2)
    assert (tuple(inputs.shape), targets.tolist()) == ((2, 3, 2, 2), [0, 1])
    assert as_json(source.preprocessing)["kind"] == "image"


def test_a_sample_that_cannot_be_prepared_names_the_split():
    pairs = [(np.zeros((2, 2), np.uint8), 0)]
    source = SimpleNamespace(labels=("a",), preprocessing=Normalize(shape=[3]), split=lambda name: pairs)
    with pytest.raises(ConfigError, match=r"data: the split train: The input has the shape \[1, 2, 2\]"):
        Data(source).split("train").first(1)


def test_two_ways_to_make_model_inputs_are_refused():
    source = SimpleNamespace(labels=("a",), preprocessing=Normalize(), split=lambda name: [], collate=list)
    with pytest.raises(ConfigError, match="Give one of them"):
        Data(source)


@pytest.mark.parametrize(
    "preprocessing", [{"mean": 0.0, "std": 1.0, "raw": {"dtype": "uint8"}}, {"raw": {"range": [0, 0.1]}}]
)
def test_a_mapping_that_cannot_be_what_samples_went_through_is_refused_before_training(preprocessing):
    dataset = InMemory(torch.linspace(0, 1, 12).reshape(6, 2), torch.tensor(LABELS))
    source = SimpleNamespace(labels=("a", "b"), preprocessing=preprocessing, split=lambda name: dataset)
    with pytest.raises(ConfigError, match=r"data: (preprocessing says|The input ranges)"):
        check_splits(Data(source))
