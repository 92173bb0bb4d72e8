"""Constant and country intensities, with their provenance."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overwinter import carbon
from overwinter.carbon.constant import ConstantCarbonConfig
from overwinter.carbon.country import CountryCarbonConfig
from overwinter.codecarbon_tables import codecarbon_data, find_country
from overwinter.config import check_settings
from overwinter.config.validation import typed_carbon
from overwinter.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs" / "carbon"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_default_is_the_world_average_of_codecarbons_table() -> None:
    config = ConstantCarbonConfig(**yaml.safe_load((CONFIGS / "constant.yaml").read_text()))
    intensity = config.open().at(NOW)
    data = codecarbon_data()
    assert data is not None
    table = json.loads((data / "private_infra" / "carbon_intensity_per_source.json").read_text())
    assert intensity.g_per_kwh == table["world_average"] == 475
    assert intensity.kind == "average"


def test_a_country_comes_with_its_year() -> None:
    config = CountryCarbonConfig(**yaml.safe_load((CONFIGS / "country.yaml").read_text()))
    intensity = config.open().at(NOW)
    assert 10 < intensity.g_per_kwh < 150
    assert intensity.source.startswith("France, average of 20")
    assert intensity.kind == "average"


def test_wrong_settings_are_refused_with_the_key_and_the_value() -> None:
    ConstantCarbonConfig(source="constant", intensity_g_per_kwh=475.0).check("carbon")
    CountryCarbonConfig(source="country", country="FRA").check("carbon")
    for wrong in (-1.0, 5001.0, math.nan):
        with pytest.raises(ConfigError, match=rf"carbon\.intensity_g_per_kwh={wrong} must be at least 0 and at most"):
            check_settings(ConstantCarbonConfig(source="constant", intensity_g_per_kwh=wrong), key="carbon")
    with pytest.raises(ConfigError, match=r"carbon\.country='XXX'"):
        CountryCarbonConfig(source="country", country="XXX").check("carbon")
    with pytest.raises(ConfigError, match="Did you mean 'constant'"):
        typed_carbon({"source": "constnt"})


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


def test_public_names_are_sorted_and_load_no_codecarbon() -> None:
    assert carbon.__all__ == sorted(carbon.__all__)
    code = (
        "import sys; from overwinter.carbon.country import CountryCarbonConfig\n"
        "CountryCarbonConfig(source='country', country='DEU').open().at(None)\n"
        "print(sys.modules.keys() & {'codecarbon', 'torch', 'pandas'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
