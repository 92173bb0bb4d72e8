"""A package's public names are imported from their modules on first use."""

import ast
import sys
from pathlib import Path

import pytest

from overwinter.lazy_imports import lazily

SOURCE = Path(__file__).parents[1] / "src" / "overwinter"


def test_a_name_is_imported_on_first_use(tmp_path, monkeypatch):
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


@pytest.mark.parametrize(
    "package", sorted(each.parent for each in SOURCE.rglob("*/__init__.py")), ids=lambda each: each.name
)
def test_no_module_has_the_name_of_an_export_of_its_package(package):
    """Importing the module would replace the export of that name."""
    body = ast.parse((package / "__init__.py").read_text()).body
    listed = [each.value for each in body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__all__"]
    exported = {name for each in listed for name in ast.literal_eval(each)}
    assert not exported & {each.stem for each in package.iterdir()}
