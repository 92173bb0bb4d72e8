"""Sums, uncertainties, shares and baselines of a report."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.report import Component, Draw, build_report, combined_uncertainty_j
from overwinter.records import to_json


def draw(source: str, energy_uj: int, *, device: str = "gpu:0", edge_s: float = 0.0, doubt_uj: int = 0) -> Draw:
    return Draw(
        device=device,
        source=source,
        energy_uj=energy_uj,
        doubt_uj=doubt_uj,
        relative_uncertainty=0.1,
        edge_s=edge_s,
        power_w=0.0,
        peak_w=0.0,
    )


def part(source: str, uncertainty_j: float) -> Component:
    return Component(device="d", energy_j=1.0, uncertainty_j=uncertainty_j, source=source, average_w=1.0, peak_w=1.0)


def test_one_kind_adds_up_and_different_kinds_combine_in_quadrature() -> None:
    assert combined_uncertainty_j([part("rapl", 1.0), part("rapl", 2.0)]) == 3.0
    assert combined_uncertainty_j([part("rapl", 3.0), part("modelled", 4.0)]) == 5.0
    assert combined_uncertainty_j([]) == 0.0


@given(
    energies=st.lists(
        st.tuples(st.sampled_from(["rapl", "nvml-counter", "modelled"]), st.integers(0, 10**15)), max_size=12
    ),
    duration_s=st.floats(0.001, 1e6),
    idle_w=st.floats(0, 1e4),
)
def test_reports_add_up(energies: list[tuple[str, int]], duration_s: float, idle_w: float) -> None:
    draws = [draw(source, energy, device=f"d{index}") for index, (source, energy) in enumerate(energies)]
    idle = {one.device: idle_w for one in draws}
    report = build_report(name="w", duration_s=duration_s, draws=draws, idle_w=idle, warnings=[])
    assert round(report.energy_j * 1e6) == pytest.approx(sum(energy for _, energy in energies), rel=1e-12)
    assert 0 <= report.measured_fraction <= 1
    assert report.idle_j is not None
    assert report.above_idle_j is not None
    assert 0 <= report.idle_j <= report.energy_j * (1 + 1e-9)
    assert report.above_idle_j == pytest.approx(report.energy_j - report.idle_j)
    single = [component.uncertainty_j for component in report.components]
    assert report.uncertainty_j <= sum(single) * (1 + 1e-9)
    assert report.uncertainty_j >= max(single, default=0.0) * (1 - 1e-9)
    assert all(component.peak_w >= component.average_w >= 0 for component in report.components)


def test_measured_fraction_is_the_share_of_joules() -> None:
    draws = [draw("rapl", 3_000_000, device="cpu"), draw("modelled", 1_000_000, device="ram")]
    assert build_report(name="w", duration_s=1, draws=draws, idle_w={}, warnings=[]).measured_fraction == 0.75


def test_doubt_widens_the_uncertainty() -> None:
    report = build_report(
        name="w", duration_s=100, draws=[draw("rapl", 10_000_000, doubt_uj=5_000_000)], idle_w={}, warnings=[]
    )
    assert report.uncertainty_j == pytest.approx(1.0 + 5.0)


def test_a_short_window_is_wider_and_says_so() -> None:
    long = build_report(name="w", duration_s=100, draws=[draw("rapl", 10**8, edge_s=0.1)], idle_w={}, warnings=[])
    short = build_report(name="w", duration_s=0.2, draws=[draw("rapl", 200_000, edge_s=0.1)], idle_w={}, warnings=[])
    assert not long.warnings
    assert "measure 1 s or more" in short.warnings[0]
    assert short.uncertainty_j / short.energy_j > 4 * long.uncertainty_j / long.energy_j


def test_an_unknown_baseline_of_one_device_makes_the_sum_unknown() -> None:
    draws = [draw("rapl", 10**6, device="cpu"), draw("rapl", 10**6, device="ram")]
    report = build_report(name="w", duration_s=1, draws=draws, idle_w={"cpu": 0.5}, warnings=[])
    assert report.idle_j is None
    assert report.above_idle_j is None


def test_json_has_no_infinities() -> None:
    report = build_report(name="w", duration_s=0.0, draws=[draw("rapl", 1)], idle_w={}, warnings=["a", "a"])
    content = to_json(report)
    assert content["warnings"] == ["a"]
    assert math.isfinite(content["uncertainty_j"])
    json.dumps(content, allow_nan=False)
