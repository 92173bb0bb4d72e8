"""Regions by carbon intensity: now, at the cleanest start, or without data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overwinter.budget import Range
from overwinter.errors import ConfigError
from overwinter.pipeline.regions import compare_regions

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
JOULES = Range(low=1.8e6, expected=3.6e6, high=7.2e6)  # 1 kWh
HOUR = Range(low=3000.0, expected=3600.0, high=4000.0)


@pytest.fixture
def compared(machines):
    def compare(*names, deadline_h=24.0):
        return compare_regions(
            machines.composer,
            [],
            names,
            energy_j=JOULES,
            duration_s=HOUR,
            now_utc=NOW,
            deadline_utc=NOW + timedelta(hours=deadline_h),
        )

    return compare


def daily(path):
    """Write a trace of 60 days up to tomorrow, clean from 18 to 20 o'clock."""
    hours = [NOW + timedelta(hours=hour) for hour in range(-24 * 60, 24)]
    lines = [f"{hour.isoformat()},{100 if hour.hour in (18, 19) else 500}" for hour in hours]
    path.write_text("\n".join(["time_utc,g_per_kwh", *lines]) + "\n")


def test_countries_have_an_average_and_no_forecast(compared):
    france, poland = compared("FRA", "POL")
    assert france.g_per_kwh < poland.g_per_kwh
    assert france.carbon_g.expected == pytest.approx(france.g_per_kwh)
    assert (france.start_utc, france.kind) == (None, "average")
    assert "no forecast" in france.note


def test_a_trace_is_forecast_and_its_cleanest_start_leaves_time_for_the_work(compared, machines):
    daily(machines.project.root / "grid.csv")
    (found,) = compared("grid.csv")
    assert found.g_per_kwh == 500
    assert found.start_utc == NOW + timedelta(hours=6)
    assert found.best_carbon_g.expected == pytest.approx(100, rel=0.2)
    assert found.carbon_g.high == pytest.approx(2 * found.carbon_g.expected)
    (tight,) = compared("grid.csv", deadline_h=2)
    assert tight.start_utc == NOW


def test_a_region_without_data_says_so_and_takes_no_other_figure(compared, machines):
    (machines.project.root / "old.csv").write_text("time_utc,g_per_kwh\n2020-01-01T00:00Z,1\n2020-01-01T01:00Z,2\n")
    (found,) = compared("old.csv")
    assert (found.g_per_kwh, found.carbon_g) == (None, None)
    assert found.note.startswith("no data: old.csv covers 2020-01-01")


def test_without_names_it_is_where_the_configuration_says(compared):
    (found,) = compared()
    assert (found.name, found.g_per_kwh) == ("as configured", 475.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ATL", "not in CodeCarbon's table"),
        ("uk_gird", "uk_grid"),
        ("constant:FR", "has no zones"),
        ("missing.csv", "does not exist"),
        ("electricity_maps:FR", "ELECTRICITY_MAPS_TOKEN"),
    ],
)
def test_wrong_regions_are_explained(compared, monkeypatch, name, message):
    monkeypatch.delenv("ELECTRICITY_MAPS_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=message):
        compared(name)
