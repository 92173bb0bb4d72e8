from types import MappingProxyType

import numpy as np
import pytest
import torch

from overwinter.data import Data, load_data
from overwinter.errors import ConfigError
from overwinter.tasks import Classification


class Unlabelled:
    preprocessing = MappingProxyType({})

    def split(self, name):
        return []


class Attribute:
    labels = ("a",)
    preprocessing = MappingProxyType({})
    split = "train"


class Source:
    preprocessing = MappingProxyType({})

    def __init__(self, **attributes):
        self.labels = ("a", "b")
        for name, value in attributes.items():
            setattr(self, name, value)

    def split(self, name):
        return [(torch.ones(1), 0), (torch.ones(2), 1.0)]


@pytest.mark.parametrize(("name", "lacks"), [("Unlabelled", "labels"), ("Attribute", "callable split")])
def test_what_is_no_data_source_is_refused(name, lacks):
    with pytest.raises(ConfigError, match=f"has no {lacks}"):
        load_data({"_target_": f"{__name__}.{name}"}, trusted=[__name__])


def test_an_untrusted_target_is_refused():
    with pytest.raises(ConfigError, match="not trusted"):
        load_data({"_target_": "my_package.Data"}, trusted=[])


@pytest.mark.parametrize("labels", [["größer", "中"], np.array(["größer", "中"]), ("größer".encode(), "中")])
def test_classes_are_named_by_any_sequence(labels):
    assert Data(Source(labels=labels)).labels == ("größer", "中")


@pytest.mark.parametrize("labels", [{"a": 0, "b": 1}, {"a", "b"}, "ab", 2])
def test_names_without_an_order_are_refused(labels):
    with pytest.raises(ConfigError, match=r"`labels` is a .*in the order of their numbers"):
        Data(Source(labels=labels))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"collate": 3}, "`collate` is a int"),
        ({"pad": "0"}, "`pad` is '0'"),
        ({"pad": {"ids": None}}, "`pad` is {'ids': None}"),
        ({"workers": -1}, "`workers` is -1"),
        ({"workers": "2"}, "`workers` is '2'"),
    ],
)
def test_optional_members_of_another_type_are_refused(attributes, message):
    with pytest.raises(ConfigError, match=message):
        Data(Source(**attributes))


def test_splits_are_padded_and_read_by_the_task_as_the_source_says():
    data = Data(Source(pad=0.0)).use(Classification(["a", "b"]))
    inputs, targets = data.split("validation").whole()
    assert inputs.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert targets.tolist() == [0, 1]
    with pytest.raises(ConfigError, match="the split validation: Inputs have the shapes"):
        Data(Source()).split("validation").whole()
    own = Data(Source(collate=lambda samples: (torch.zeros(2, 1), torch.tensor([1, 0]))))
    assert own.split("test").whole()[1].tolist() == [1, 0]


def test_a_digest_is_passed_on():
    assert Data(Source()).sha256 is None
    assert Data(Source(sha256="abc")).sha256 == "abc"
