import pytest

from overwinter.errors import ConfigError
from overwinter.paths import local_path


def test_a_file_in_a_package_is_found():
    assert local_path("package:overwinter/py.typed", key="model.root").name == "py.typed"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("package:no_such_package/x", "'no_such_package' is not installed"),
        ("package:overwinter/../x", "points outside"),
        ("package:overwinter/none", r"model\.root='package:overwinter/none' does not exist"),
        ("package:a.b/x", "not installed"),
    ],
)
def test_a_missing_path_is_named(place, message):
    with pytest.raises(ConfigError, match=message):
        local_path(place, key="model.root")
