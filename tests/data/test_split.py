import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

from overwinter.data import InMemory, RandomFlip, Split
from overwinter.data.collation import Collation
from overwinter.errors import ConfigError
from overwinter.tasks import Classification


class Stream(IterableDataset):
    def __init__(self, count):
        self.count, self.passes = count, 0

    def __iter__(self):
        self.passes += 1
        return ((torch.tensor([float(number)]), number) for number in range(self.count))


class Endless(IterableDataset):
    def __len__(self):
        return 5

    def __iter__(self):
        return ((torch.tensor([float(number)]), number) for number in itertools.count())


def in_memory(count):
    return InMemory(torch.arange(float(count))[:, None], torch.arange(count))


def one_by_one(count):
    return [(torch.tensor([float(number)]), number) for number in range(count)]


KINDS = {"in memory": in_memory, "map-style": one_by_one, "iterable": Stream}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_every_kind_of_data_set_is_read_in_order(kind, workers):
    split = Split(KINDS[kind](7), workers=workers)
    assert [targets.tolist() for _, targets in split.batches(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert split.count() == 7


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_and_all_samples_are_one_batch(kind):
    split = Split(KINDS[kind](5))
    assert split.first(2)[1].tolist() == [0, 1]
    assert split.first(9)[1].tolist() == split.whole()[1].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_single_samples_are_batches_of_one(kind):
    assert [tuple(inputs.shape) for inputs in Split(KINDS[kind](5)).singles(3)] == [(1, 1)] * 3


def test_nothing_is_augmented():
    dataset = InMemory(torch.randn(4, 1, 2, 2), torch.arange(4), transform=RandomFlip())
    assert torch.equal(Split(dataset).whole()[0], dataset.inputs)
    assert torch.equal(next(Split(dataset).batches(4))[0], dataset.inputs)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 9))
def test_a_spread_comes_from_every_stretch_and_none_twice(total, count, seed):
    inputs, targets = Split(in_memory(total)).spread(count, seed=seed)
    drawn = inputs.flatten()
    assert drawn.tolist() == targets.tolist()
    assert len(set(drawn.tolist())) == min(count, total)
    gaps = drawn.sort().values.diff(prepend=torch.tensor([0.0]), append=torch.tensor([float(total)]))
    assert float(gaps.max()) <= 2 * (total // min(count, total) + 1)
    assert torch.equal(drawn, Split(one_by_one(total)).spread(count, seed=seed)[0].flatten())


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 9))
def test_a_spread_of_a_stream_comes_from_all_of_it_in_one_pass(total, count, seed):
    stream = Stream(total)
    drawn = Split(stream).spread(count, seed=seed)[1].tolist()
    assert stream.passes == 1
    assert len(set(drawn)) == min(count, total)
    assert drawn == Split(Stream(total)).spread(count, seed=seed)[1].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_spread_is_in_random_order(kind):
    drawn = Split(KINDS[kind](90)).spread(60, seed=0)[1]
    assert {int(number) // 30 for number in drawn[:15]} == {0, 1, 2}


@pytest.mark.parametrize("kind", KINDS)
def test_a_spread_in_batches_has_the_samples_of_a_spread_in_one(kind):
    batches = Split(KINDS[kind](90)).spread_batches(20, 8, seed=0)
    assert len(batches) == (1 if isinstance(KINDS[kind](90), InMemory) else 3)
    together = torch.cat([targets for _, targets in batches])
    assert torch.equal(together, Split(KINDS[kind](90)).spread(20, seed=0)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_no_samples_are_refused(kind):
    split = Split(KINDS[kind](0), name="test")
    for read in (
        split.whole,
        lambda: split.first(1),
        lambda: split.spread(1, seed=0),
        lambda: split.spread_batches(1, 1, seed=0),
    ):
        with pytest.raises(ConfigError, match="the split test has no samples"):
            read()


def test_a_stream_that_says_its_length_is_not_counted_and_read_no_further():
    split = Split(Endless())
    assert split.size == 5
    assert split.whole()[1].tolist() == [0, 1, 2, 3, 4]
    assert sum(len(targets) for _, targets in split.batches(2)) == 5


def test_a_stream_is_counted_once():
    split = Split(Stream(4))
    assert split.size is None
    assert split.count() == split.use(Classification(["a"] * 4)).count() == 4
    assert split.dataset.passes == 1


def test_a_data_set_without_a_length_is_refused():
    class Odd:
        def __getitem__(self, index):
            return index

    with pytest.raises(ConfigError, match="is a Odd without a length"):
        Split(Odd())


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_read_by_the_task(kind):
    split = Split(KINDS[kind](3)).use(Classification(["a", "b", "c"]))
    assert split.whole()[1].dtype == torch.int64
    with pytest.raises(ConfigError, match="data: the split train: There is the target 2"):
        list(Split(KINDS[kind](3)).use(Classification(["a", "b"])).batches(3))


def test_whole_floats_and_columns_are_class_numbers():
    split = Split(InMemory(torch.ones(2, 1), torch.tensor([[0.0], [1.0]]))).use(Classification(["a", "b"]))
    assert split.first(2)[1].tolist() == [0, 1]


def test_an_own_collate_makes_the_batches():
    collation = Collation(own=lambda samples: {"doubled": torch.tensor([2.0 * s[1] for s in samples]), "label": [0, 1]})
    inputs, targets = Split(one_by_one(2), collation=collation).whole()
    assert inputs.tolist() == [0.0, 2.0]
    assert targets.tolist() == [0, 1]


def test_an_own_collate_that_fails_is_named():
    collation = Collation(own=lambda samples: samples[0]["x"], where="data: the split train")
    with pytest.raises(ConfigError, match="the split train: `collate` fails: TypeError"):
        Split(one_by_one(2), collation=collation).first(1)
