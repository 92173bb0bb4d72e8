"""Constant and country intensities, with their provenance."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overwinter import carbon
from overwinter.carbon import open_source
from overwinter.carbon.country import find_country
from overwinter.config.groups.energy import ConstantCarbonConfig, CountryCarbonConfig
from overwinter.energy.cpu_table import codecarbon_data
from overwinter.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs" / "carbon"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_default_is_the_world_average_of_codecarbons_table() -> None:
    config = ConstantCarbonConfig(**yaml.safe_load((CONFIGS / "constant.yaml").read_text()))
    intensity = open_source(config).at(NOW)
    data = codecarbon_data()
    assert data is not None
    table = json.loads((data / "private_infra" / "carbon_intensity_per_source.json").read_text())
    assert intensity.g_per_kwh == table["world_average"] == 475
    assert intensity.kind == "average"


def test_a_country_comes_with_its_year() -> None:
    config = CountryCarbonConfig(**yaml.safe_load((CONFIGS / "country.yaml").read_text()))
    intensity = open_source(config).at(NOW)
    assert 10 < intensity.g_per_kwh < 150
    assert intensity.source.startswith("France, average of 20")
    assert intensity.kind == "average"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("FR", "Did you mean 'FR"),
        ("deu", "Did you mean 'DEU'"),
        ("Germany", "Germany is DEU"),
        ("", "such as FRA"),
    ],
)
def test_an_unknown_country_names_the_nearest(code: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        find_country(code, key="carbon.country")


@given(st.text(max_size=12))
def test_any_text_is_a_country_or_a_clear_error(code: str) -> None:
    with contextlib.suppress(ConfigError):
        assert find_country(code, key="carbon.country").g_per_kwh > 0


def test_the_public_door_is_sorted_and_loads_no_codecarbon() -> None:
    assert carbon.__all__ == sorted(carbon.__all__)
    code = (
        "import sys; from types import SimpleNamespace as N; from overwinter.carbon import open_source\n"
        "open_source(N(source='country', country='DEU')).at(None)\n"
        "print(sys.modules.keys() & {'codecarbon', 'torch', 'pandas'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
