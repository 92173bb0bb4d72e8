import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from overwinter.data import Batches, InMemory, RandomShift
from overwinter.errors import ConfigError

CPU = torch.device("cpu")


def numbered(count: int, transform=None) -> InMemory:
    return InMemory(torch.arange(float(count))[:, None], torch.arange(count), transform=transform)


class Slow(Dataset):
    """The same samples, one by one."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


def epoch(dataset, number=0, start=0, batch_size=4, seed=0):
    return list(Batches(dataset, batch_size=batch_size, seed=seed, device=CPU).epoch(number, start=start))


def labels(batches):
    return [batch.tolist() for _, batch in batches]


def test_every_sample_comes_at_most_once_and_only_the_rest_is_left_out():
    seen = [label for batch in labels(epoch(numbered(18))) for label in batch]
    assert len(seen) == len(set(seen)) == 16


def test_fewer_samples_than_a_batch_are_one_batch():
    assert [len(batch) for batch in labels(epoch(numbered(3)))] == [3]


def test_every_epoch_and_seed_has_its_own_order_and_always_the_same():
    assert labels(epoch(numbered(18))) == labels(epoch(numbered(18)))
    assert labels(epoch(numbered(18))) != labels(epoch(numbered(18), number=1))
    assert labels(epoch(numbered(18))) != labels(epoch(numbered(18), seed=1))


@given(start=st.integers(0, 5), number=st.integers(0, 3), slow=st.booleans())
def test_an_interrupted_epoch_goes_on_with_the_same_batches(start, number, slow):
    dataset = Slow(21) if slow else numbered(21)
    whole, rest = epoch(dataset, number), epoch(dataset, number, start)
    assert labels(rest) == labels(whole)[start:]


def test_augmentation_goes_on_as_well():
    images = torch.randn(20, 1, 4, 4)
    dataset = InMemory(images, torch.arange(20), transform=RandomShift(1, 0.0))
    whole, rest = epoch(dataset), epoch(dataset, start=2)
    assert all(torch.equal(first[0], second[0]) for first, second in zip(whole[2:], rest, strict=True))


def test_a_map_style_dataset_gives_what_tensors_give():
    assert labels(epoch(Slow(18))) == labels(epoch(numbered(18)))


def test_the_global_generator_is_left_to_the_training_loop():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    epoch(numbered(9))
    epoch(Slow(9))
    assert torch.equal(before, torch.random.get_rng_state())


def test_no_samples_are_refused():
    with pytest.raises(ConfigError, match="training split is empty"):
        epoch(numbered(0))
