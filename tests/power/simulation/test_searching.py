"""Jobs that search for the best limit, on synthetic and recorded devices."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.power.interface import OperatingPoint
from overwinter.power.simulation.device import DeviceTable, read_workloads
from overwinter.power.simulation.searching import Search, find_least_energy, summed_up

DATA = Path(__file__).parents[4] / "shared" / "data" / "power"


def table(limits_w, powers_w, speeds):
    rows = zip(limits_w, powers_w, speeds, strict=True)
    points = [OperatingPoint(limit_w=float(w), power_w=p, speed_per_s=s / 3600) for w, p, s in rows]
    return DeviceTable(select={}, points=tuple(points), piece_s=10.0)


SHAPES = {
    "least at the bottom": lambda share: 1 + share,
    "least at the top": lambda share: 2 - share,
    "least in the middle": lambda share: 1 + 3 * (share - 0.5) ** 2,
    "flat": lambda share: 1 + 0 * share,
    "steep below": lambda share: 1 + 5 * (share - 0.9).clip(max=0) ** 2,
}


@pytest.mark.parametrize("limits", [1, 2, 3, 7, 12, 40])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_best_of_a_smooth_curve_is_found_wherever_it_lies(shape, limits):
    energies = SHAPES[shape](np.linspace(0, 1, limits))
    found = find_least_energy(table(np.linspace(100, 300, limits), energies, np.ones(limits)), Search(pieces=200))
    assert found.energy_j == pytest.approx(found.best_energy_j, rel=0.005)  # the last piece may be another trial
    assert found.ratio < 1.03  # one trial of five times the least costs 2 %
    assert found.full_sweep == limits


def test_a_job_takes_the_sum_of_its_pieces():
    two = table([100, 200], [90.0, 120.0], [0.9, 1.0])
    found = find_least_energy(two, Search(pieces=10))
    assert (found.probes, found.limit_w) == (2, 100)
    assert (found.energy_j, found.best_job_energy_j) == pytest.approx((90 / 0.9 * 10, 1000 * 10))
    assert found.job_energy_j == pytest.approx(9 * 1000 + 1200)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(10, 400), st.floats(0.1, 2)), min_size=1, max_size=25),
    st.sampled_from([None, 0.0, 0.05, 0.3]),
    st.sampled_from([0.0, 0.02, 0.3]),
)
def test_whatever_the_device_does_no_slow_limit_is_used_beyond_one_trial(rows, max_slowdown, noise):
    powers_w, speeds = zip(*rows, strict=True)
    device = table([100 + 10 * place for place in range(len(rows))], powers_w, speeds)
    found = find_least_energy(device, Search(pieces=60, noise=noise, max_slowdown=max_slowdown))
    assert found.ratio > 0 if max_slowdown is not None else found.ratio >= 1 - 1e-9  # a slow trial may take less
    assert found.slow_pieces == 0
    assert max_slowdown is None or found.slowdown <= max_slowdown + 1e-6


@pytest.mark.parametrize("name", ["v100", "p100"])
def test_on_recorded_tables_the_job_takes_little_more_than_the_least(name):
    path = DATA / f"zeus_power_{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here: recorded data are not part of the project")
    workloads = read_workloads(path, {})
    for noise, mean in ((0.0, 1.006), (0.02, 1.008), (0.05, 1.015)):
        summary = summed_up([find_least_energy(each, Search(pieces=200, noise=noise)) for each in workloads])
        assert summary["mean_ratio"] <= mean
        assert noise or summary["worst_ratio"] <= 1.03


def test_within_a_slowdown_the_best_that_is_fast_enough_is_found():
    energies, speeds = np.array([120.0, 100, 105, 115, 130]), np.array([0.5, 0.7, 0.9, 0.95, 1.0])
    device = table([100, 150, 200, 250, 300], energies * speeds, speeds)
    found = find_least_energy(device, Search(pieces=200, max_slowdown=0.2))
    assert (found.limit_w, found.slow_pieces) == (200, 0)
    assert found.slowdown == pytest.approx(1 / 0.9 - 1)
    assert find_least_energy(device, Search(pieces=200)).limit_w == 150
