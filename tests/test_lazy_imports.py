"""A package's names are imported from their homes when they are first used."""

import sys

import pytest

from overwinter.lazy_imports import lazily


def test_a_name_is_imported_from_its_home_when_it_is_asked_for(tmp_path, monkeypatch):
    package = tmp_path / "quiet_house"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from overwinter.lazy_imports import lazily\n__getattr__ = lazily(__name__, {'lamp': 'attic'})\n"
    )
    (package / "attic.py").write_text("lamp = 'lit'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import quiet_house

    assert "quiet_house.attic" not in sys.modules
    assert quiet_house.lamp == "lit"
    assert "quiet_house.attic" in sys.modules


def test_an_unknown_name_is_an_attribute_error_that_names_the_package():
    with pytest.raises(AttributeError, match="module 'house' has no attribute 'cellar'"):
        lazily("house", {"lamp": "attic"})("cellar")
