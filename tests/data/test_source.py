from types import MappingProxyType

import numpy as np
import pytest
import torch

from overwinter.data import InMemory, check_splits, class_names, load_data
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
    preprocessing = MappingProxyType({})

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
        ("validation", [("x", 1)], r"the split validation: An input is 'x' \(str\). Return a float32 tensor"),
        ("test", samples(shape=(3,)), r"the split test have the shape \[3\], those of train \[2\]"),
        ("train", samples(dtype=torch.int64), "the split train: Inputs are torch.int64. Return float32"),
        ("test", samples(labels=(0, 7)), "the split test has the label 7, and 2 classes are named: .*from 0 to 1"),
        ("train", [(torch.zeros(2), -1)], "the split train: A label is -1. Labels go from 0"),
    ],
)
def test_a_split_that_a_later_stage_would_stumble_over_is_named(name, split, expected):
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        check_splits(Splits(**{name: split}))


def test_good_splits_pass_and_damaged_files_stay_damaged_files():
    check_splits(Splits(test=[(torch.zeros(2), 1)]))
    with pytest.raises(IntegrityError, match="damaged"):
        check_splits(Splits(test=IntegrityError("damaged")))


class Named(Splits):
    def __init__(self, labels, preprocessing):
        super().__init__()
        self.labels, self.preprocessing = labels, preprocessing


@pytest.mark.parametrize("labels", [["größer", "中"], np.array(["größer", "中"]), ("größer".encode(), "中")])
def test_classes_are_named_by_any_sequence(labels):
    assert class_names(Named(labels, {})) == ("größer", "中")


@pytest.mark.parametrize("labels", [{"a": 0, "b": 1}, {"a", "b"}, "ab", 2])
def test_names_without_an_order_are_refused_before_training(labels):
    with pytest.raises(ConfigError, match=r"`labels` is a .*in the order of their numbers"):
        check_splits(Named(labels, {}))


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
        check_splits(Named(("a", "b"), preprocessing))


def test_the_shape_of_an_input_is_returned():
    assert check_splits(Named(("a", "b"), {"mean": np.zeros(2)})) == (2,)
