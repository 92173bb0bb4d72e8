from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

from overwinter.data import Data, InMemory, check_splits
from overwinter.errors import ConfigError, IntegrityError
from overwinter.tasks import Classification, LanguageModeling, Regression

NAMES = ("train", "validation", "test")


def samples(shape=(2,), labels=(0, 1), dtype=torch.float32, start=0):
    numbers = torch.arange(len(labels) * int(np.prod(shape))) + start
    return InMemory(numbers.reshape(len(labels), *shape).to(dtype), torch.tensor(labels))


class Endless(IterableDataset):
    def __init__(self, start=0):
        self.start, self.given = start, 0

    def __iter__(self):
        for number in range(self.start, 10**9):
            self.given += 1
            yield torch.tensor([float(number), 0.0]), number % 2


class Costly:
    """A large map-style data set that counts what is asked of it."""

    def __init__(self, start=0):
        self.start, self.given = start, 0

    def __len__(self):
        return 10**9

    def __getitem__(self, index):
        self.given += 1
        return torch.tensor([float(index + self.start), 0.5]), index % 2


class Splits:
    labels = ("left", "right")

    def __init__(self, preprocessing=MappingProxyType({}), labels=labels, **splits):
        self.preprocessing, self.labels = preprocessing, labels
        self._splits = {name: samples(start=10 * place) for place, name in enumerate(NAMES)} | splits

    def split(self, name):
        if isinstance(self._splits[name], Exception):
            raise self._splits[name]
        return self._splits[name]


def check(*, task=Classification, pad=None, **arguments):
    source = Splits(**arguments)
    source.pad = pad
    data = Data(source)
    return check_splits(data.use(task(data.labels)))


WITH_NAN = InMemory(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("test", KeyError("test"), "the split test cannot be read: KeyError: 'test'.*needs train, validation, test"),
        ("test", [], "the split test has no samples"),
        ("validation", InMemory(torch.ones(0, 2), torch.ones(0)), "the split validation has no samples"),
        ("validation", [("x", 1)], r"the split validation: An input is 'x' \(str\). Return a tensor"),
        ("test", samples(shape=(3,)), r"the split test have the shape \[3\], those of train \[2\]"),
        ("test", samples(dtype=torch.int64), "the split test are int64, those of train float32"),
        ("test", samples(labels=(0, 7)), "the split test: There is the target 7, and data names 2 classes"),
        ("train", [(torch.zeros(2), -1)], "the split train: There is the target -1"),
        ("train", [(torch.zeros(2), 0.25)], "the split train: .*task=regression"),
        ("train", [(torch.zeros(2), 0), (torch.zeros(3), 1)], "the split train: Inputs have the shapes.*`pad`"),
        ("validation", WITH_NAN, "inputs of the split validation hold NaN"),
        ("test", [({"a": torch.ones(1), "b": torch.tensor([torch.inf])}, 0)], "inputs 'b' of the split test hold NaN"),
        ("train", samples(labels=(1, 1, 1)), "no sample of the split train is of the class 'left', so nothing"),
        ("train", [(torch.ones(2), 0)], "no sample of the split train is of the class 'right'"),
    ],
)
def test_a_split_that_a_later_stage_would_stumble_over_is_named(name, split, expected):
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        check(**{name: split})


def test_good_splits_pass_and_damaged_files_stay_damaged_files():
    assert check(test=[(torch.full((2,), 7.0), 1), (torch.full((2,), 8.0), 0)]) == ()
    with pytest.raises(IntegrityError, match="damaged"):
        check(test=IntegrityError("damaged"))


def test_lengths_may_differ_where_they_are_padded():
    other = samples(shape=(3,), start=50)
    assert check(test=other, pad=0) == ()
    with pytest.raises(ConfigError, match=r"shape \[3, 1\]"):
        check(test=samples(shape=(3, 1)), pad=0)


def test_a_class_that_only_validation_lacks_is_told():
    assert check(validation=samples(labels=(0, 0), start=70)) == (
        "data: no sample of the split validation is of the class 'right'",
    )


def test_numbers_have_no_classes_to_be_absent():
    assert check(task=Regression, labels=("price",), train=samples(labels=(0.5, 0.5))) == ()


def windows(first, *, count=8, length=32):
    tokens = torch.arange(first, first + count * length).reshape(count, length)
    return InMemory(tokens, tokens + 1)


def test_texts_that_splits_share_are_told_though_their_windows_were_cut_elsewhere():
    """The first three windows of the test hold the last tokens of train, cut 8 tokens later."""
    splits = {"train": windows(0), "validation": windows(5000), "test": windows(5 * 32 + 8)}
    (line,) = check(task=LanguageModeling, labels=(), **splits)
    assert line.startswith("data: half or more of what 3 of 8 windows of the split test say is in train too")


def test_padding_that_all_windows_have_is_no_shared_text():
    def padded(first):
        tokens = windows(first).inputs
        tokens[:, 12:] = 0
        return InMemory(tokens, tokens)

    splits = {"train": padded(0), "validation": padded(5000), "test": padded(9000)}
    assert check(task=LanguageModeling, labels=(), **splits) == ()


@pytest.mark.parametrize("in_memory", [True, False])
def test_splits_that_share_samples_are_told(in_memory):
    leak = samples(start=2)  # its first is train's second
    split = leak if in_memory else [leak[0], leak[1]]
    (line,) = check(test=split)
    assert line.startswith("data: 1 of 2 inputs of the split test are in train too: figures on test flatter")


@pytest.mark.parametrize("kind", [Endless, Costly])
def test_a_large_split_is_looked_at_in_part_and_that_is_said(kind):
    train, test = kind(), kind()
    lines = check(train=train, test=test, validation=kind(start=10**8 + 7))
    assert max(train.given, test.given) <= 1024
    (line,) = lines
    assert line.startswith("data: 1024 of 1024 inputs of the split test are in train too, of those that were compared")


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({"mean": torch.zeros(2, 1, 1)}, "preprocessing.mean=.* must be a number, or one per channel"),
        ({"mean": np.zeros(3)}, "preprocessing.mean has 3 values for 2 channels"),
        ({"std": np.float32(0)}, "preprocessing.std=0.0 must be above zero"),
        ({"scaler": object()}, "kept in the bundle as JSON, which it is not: <object"),
        ({"note": float("nan")}, "kept in the bundle as JSON"),
        (None, "`preprocessing` is a NoneType"),
    ],
)
def test_preprocessing_that_a_bundle_cannot_keep_is_refused_before_training(preprocessing, message):
    with pytest.raises(ConfigError, match=message):
        check(preprocessing=preprocessing)
