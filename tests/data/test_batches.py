import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset

from overwinter.data import Batches, InMemory, RandomShift, Split
from overwinter.errors import ConfigError

CPU = torch.device("cpu")


def numbered(count: int, transform=None) -> InMemory:
    return InMemory(torch.arange(float(count))[:, None], torch.arange(count), transform=transform)


class RandomNoise:
    """Draws for every sample of a batch."""

    def __call__(self, inputs, generator):
        return inputs + torch.rand(inputs.shape, generator=generator)


class Slow(Dataset):
    """The same samples, one by one."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


class Noisy(Slow):
    """What it gives depends on the global generator."""

    def __getitem__(self, index):
        return torch.rand(1), index


class Stream(IterableDataset):
    def __init__(self, count: int):
        self.count = count
        self.epochs = []

    def set_epoch(self, number):
        self.epochs.append(number)

    def __iter__(self):
        for number in range(self.count):
            yield torch.rand(1), number


def epoch(dataset, number=0, start=0, batch_size=4, seed=0, workers=0):
    batches = Batches(Split(dataset, workers=workers), batch_size=batch_size, seed=seed, device=CPU)
    return list(batches.epoch(number, start=start))


def labels(batches):
    return [batch.tolist() for _, batch in batches]


def test_every_sample_comes_at_most_once_and_only_the_rest_is_left_out():
    seen = [label for batch in labels(epoch(numbered(18))) for label in batch]
    assert len(seen) == len(set(seen)) == 16


def test_fewer_samples_than_a_batch_are_one_batch():
    assert [len(batch) for batch in labels(epoch(numbered(3)))] == [3]
    assert [len(batch) for batch in labels(epoch(Stream(3)))] == [3]


def test_every_epoch_and_seed_has_its_own_order_and_always_the_same():
    assert labels(epoch(numbered(18))) == labels(epoch(numbered(18)))
    assert labels(epoch(numbered(18))) != labels(epoch(numbered(18), number=1))
    assert labels(epoch(numbered(18))) != labels(epoch(numbered(18), seed=1))


@given(start=st.integers(0, 5), number=st.integers(0, 3), slow=st.booleans())
def test_an_interrupted_epoch_goes_on_with_the_same_batches(start, number, slow):
    dataset = Slow(21) if slow else numbered(21)
    whole, rest = epoch(dataset, number), epoch(dataset, number, start)
    assert labels(rest) == labels(whole)[start:]


@pytest.mark.parametrize(("dataset", "workers"), [(Noisy(20), 2), (Stream(22), 0), (Stream(22), 1)])
def test_an_interrupted_epoch_draws_what_it_would_have_drawn(dataset, workers):
    whole, rest = epoch(dataset, 1, workers=workers), epoch(dataset, 1, 2, workers=workers)
    assert [batch.tolist() for batch, _ in rest] == [batch.tolist() for batch, _ in whole[2:]]
    assert len(whole) == 5
    assert len({number for batch, _ in whole for number in batch.flatten().tolist()}) == 20


def test_augmentation_goes_on_as_well():
    images = torch.randn(20, 1, 4, 4)
    dataset = InMemory(images, torch.arange(20), transform=RandomShift(1, 0.0))
    whole, rest = epoch(dataset), epoch(dataset, start=2)
    assert all(torch.equal(first[0], second[0]) for first, second in zip(whole[2:], rest, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_map_style_dataset_gives_what_one_in_memory_gives(workers):
    assert labels(epoch(Slow(18), workers=workers)) == labels(epoch(numbered(18)))


def test_an_iterable_dataset_keeps_its_order_and_is_told_the_epoch():
    dataset = Stream(10)
    assert labels(epoch(dataset, 3)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert dataset.epochs == [3]


@pytest.mark.parametrize(("later", "found"), [(7, "a last batch of 3"), (4, "1 batches of 4"), (0, "0 batches of 4")])
def test_an_iterable_dataset_that_shrinks_is_refused(later, found):
    dataset = Stream(8)
    batches = Batches(Split(dataset), batch_size=4, seed=0, device=CPU)
    dataset.count = later
    with pytest.raises(ConfigError, match=f"train gave {found}"):
        list(batches.epoch(0))


def test_the_transform_of_single_samples_is_the_data_sets_own():
    dataset = Slow(4)
    dataset.transform = lambda image: 1 / 0
    assert len(epoch(dataset)) == 1


def test_the_global_generator_is_left_to_the_training_loop():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    epoch(numbered(9))
    epoch(Slow(9))
    assert torch.equal(before, torch.random.get_rng_state())


def test_no_samples_are_refused():
    with pytest.raises(ConfigError, match="training split is empty"):
        epoch(numbered(0))


class ByNumber:
    """Adds what it is told of the samples and the epoch."""

    def __call__(self, inputs, generator):
        return inputs

    def for_samples(self, numbers, epoch):
        return lambda inputs, generator: torch.stack([numbers.float(), torch.full((len(numbers),), float(epoch))], 1)


@pytest.mark.parametrize("dataset", [numbered(18), Slow(18), Stream(18)])
def test_a_transform_is_told_the_numbers_of_the_samples_and_the_epoch(dataset):
    dataset.transform = ByNumber()
    for start in (0, 2):
        for inputs, targets in epoch(dataset, number=3, start=start):
            assert inputs.tolist() == [[float(target), 3.0] for target in targets]


@pytest.mark.parametrize("dataset", [numbered(10), numbered(10, RandomNoise()), Slow(10), Stream(10)])
def test_parts_of_a_batch_are_together_the_whole_with_its_augmentation(dataset):
    def read(part):
        split = Split(dataset)
        return list(Batches(split, batch_size=5, seed=1, device=CPU, part=part).epoch(2, start=1))

    whole, parts = read(None), [read(lambda _: slice(0, 3)), read(lambda _: slice(3, 5))]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert [len(targets) for _, targets in (first, second)] == [3, 2]
        for together, own in zip(batch, zip(first, second, strict=True), strict=True):
            assert torch.equal(torch.cat(own), together)
