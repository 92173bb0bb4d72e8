import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

from overwinter.data import InMemory, RandomFlip, load_data
from overwinter.data.share import share_of
from overwinter.errors import ConfigError

FLIP = RandomFlip()


class Slow:
    transform = FLIP

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


class Source:
    labels, preprocessing = ("a", "b"), {}

    def split(self, name):
        return Slow(40) if name != "stream" else Stream()


def members(dataset):
    return [int(dataset[place][1]) for place in range(len(dataset))]


@given(count=st.integers(1, 60), share=st.floats(0.01, 1.0), larger=st.floats(0.01, 1.0))
def test_a_share_is_a_part_of_every_larger_one_whatever_holds_the_samples(count, share, larger):
    in_memory = InMemory(torch.arange(float(count))[:, None], torch.arange(count), transform=FLIP)
    kept = members(share_of(in_memory, min(share, larger)))
    assert len(kept) == len(set(kept)) == max(1, round(count * min(share, larger)))
    assert set(kept) <= set(members(share_of(in_memory, max(share, larger))))
    assert kept == members(share_of(Slow(count), min(share, larger)))


@pytest.mark.parametrize("dataset", [Slow(10), InMemory(torch.ones(10, 1), torch.ones(10), transform=FLIP)])
def test_the_augmentation_stays(dataset):
    assert share_of(dataset, 0.5).transform is FLIP
    assert share_of(dataset, 1.0) is dataset


def test_only_the_training_split_is_smaller_and_the_class_sees_nothing_of_it():
    data = load_data({"_target_": f"{__name__}.Source", "share": 0.25}, trusted=[__name__])
    assert data.split("train").count() == data.use(None).split("train").count() == 10
    assert data.split("validation").count() == 40


def test_a_stream_is_refused():
    with pytest.raises(ConfigError, match=r"data.share=0.5 takes samples by their numbers, .* is a stream"):
        share_of(Stream(), 0.5)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, True, "half", None])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(ConfigError, match=r"data.share=.* must be above 0 and at most 1"):
        load_data({"_target_": f"{__name__}.Source", "share": share}, trusted=[__name__])
