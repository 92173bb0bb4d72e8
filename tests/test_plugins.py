"""Registries: built-in names first, then those of other packages, and a hint for unknown names."""

import importlib.metadata
import math
import sys

import pytest

from overwinter.errors import ConfigError
from overwinter.plugins import Registry

REGISTRY: Registry[object] = Registry(
    group="overwinter.tests", key="test.name", built_in={"root": "math:sqrt", "unused": "no_such_module:thing"}
)


@pytest.fixture
def elsewhere(monkeypatch):
    """Another package that adds `power`, and tries to override `root`."""
    points = [
        importlib.metadata.EntryPoint(name=name, value="math:pow", group="overwinter.tests")
        for name in ("power", "root")
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "overwinter.tests" else [])


def test_a_built_in_name_is_found_without_scanning_other_packages(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", None)
    assert REGISTRY.find("root") is math.sqrt


def test_another_package_adds_a_name_but_overrides_none(elsewhere):
    assert REGISTRY.find("power") is math.pow
    assert REGISTRY.find("root") is math.sqrt
    assert REGISTRY.names() == ["power", "root", "unused"]


def test_nothing_is_imported_before_first_use(elsewhere):
    REGISTRY.names()
    assert "no_such_module" not in sys.modules


def test_an_unknown_name_is_refused_with_the_nearest(elsewhere):
    with pytest.raises(ConfigError, match=r"test\.name='powr' is unknown. Known: power, root, unused.*'power'"):
        REGISTRY.find("powr")


@pytest.mark.parametrize("value", ["no_such_package:thing", "math:no_such_function"])
def test_a_package_that_cannot_be_imported_is_named(monkeypatch, value):
    broken = importlib.metadata.EntryPoint(name="broken", value=value, group="overwinter.tests")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken])
    with pytest.raises(ConfigError, match=f"test.name='broken' refers to {value}, which cannot be loaded"):
        REGISTRY.find("broken")
