from types import MappingProxyType

import pytest
import torch

from overwinter.data import InMemory, check_splits, load_data
from overwinter.errors import ConfigError, IntegrityError


class Unlabelled:
    preprocessing = MappingProxyType({})

    def split(self, name):
        return []


class Attribute:
    labels = ("a",)
    preprocessing = MappingProxyType({})
    split = "train"


@pytest.mark.parametrize(("name", "lacks"), [("Unlabelled", "labels"), ("Attribute", "callable split")])
def test_what_is_no_data_source_is_refused(name, lacks):
    with pytest.raises(ConfigError, match=f"has no {lacks}"):
        load_data({"_target_": f"{__name__}.{name}"}, trusted=[__name__])


def test_an_untrusted_target_is_refused():
    with pytest.raises(ConfigError, match="not trusted"):
        load_data({"_target_": "my_package.Data"}, trusted=[])


def samples(shape=(2,), labels=(0, 1), dtype=torch.float32):
    return InMemory(torch.zeros(len(labels), *shape, dtype=dtype), torch.tensor(labels))


class Splits:
    labels = ("left", "right")

    def __init__(self, **splits):
        self._splits = {name: samples() for name in ("train", "validation", "test")} | splits

    def split(self, name):
        if isinstance(self._splits[name], Exception):
            raise self._splits[name]
        return self._splits[name]


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("test", KeyError("test"), "the split test cannot be read: KeyError: 'test'.*needs train, validation, test"),
        ("test", [], "the split test has no samples"),
        ("validation", [("x", 1)], "the split validation cannot be read: TypeError"),
        ("test", samples(shape=(3,)), r"the split test have the shape \[3\], those of train \[2\]"),
        ("train", samples(dtype=torch.int64), "inputs of the split train are torch.int64. Return float32"),
        ("test", samples(labels=(0, 7)), "the split test has the label 7, and 2 classes are named: .*from 0 to 1"),
        ("train", [(torch.zeros(2), -1)], "the split train has the label -1"),
    ],
)
def test_a_split_that_a_later_stage_would_stumble_over_is_named(name, split, expected):
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        check_splits(Splits(**{name: split}))


def test_good_splits_pass_and_damaged_files_stay_damaged_files():
    check_splits(Splits(test=[(torch.zeros(2), 1)]))
    with pytest.raises(IntegrityError, match="damaged"):
        check_splits(Splits(test=IntegrityError("damaged")))
