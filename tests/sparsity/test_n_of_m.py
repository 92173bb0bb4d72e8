import pytest

from overwinter.errors import ConfigError
from overwinter.sparsity.n_of_m import read_pattern


@pytest.mark.parametrize(("name", "amount"), [("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.75)])
def test_a_pattern_has_its_amount(name, amount):
    pattern = read_pattern(name)
    assert str(pattern) == name
    assert pattern.amount == amount


def test_unstructured_is_none():
    assert read_pattern("unstructured") is None


@pytest.mark.parametrize("name", ["4:4", "0:4", "5:4", "2-4", "24", "", "2:4:8", "two:four", "-2:4"])
def test_what_is_no_pattern_is_refused(name):
    with pytest.raises(ConfigError, match=r"sparsify\.pattern=.* is unknown"):
        read_pattern(name)
