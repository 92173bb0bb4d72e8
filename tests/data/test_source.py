from types import MappingProxyType

import pytest

from overwinter.data import load_data
from overwinter.errors import ConfigError


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
