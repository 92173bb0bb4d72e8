"""The judges of `energy_optimal`: random devices, and constants that only last for a while."""

import pytest

from overwinter.power.policies import energy_optimal, probing


@pytest.fixture
def program(load_benchmark):
    return load_benchmark("power_searching")


@pytest.mark.parametrize(
    ("limits", "means"),
    [((3, 7), (1.004, 1.004, 1.006)), ((7, 12), (1.006, 1.008, 1.012)), ((16, 31), (1.008, 1.01, 1.015))],
)
def test_on_random_devices_a_job_takes_little_more_than_the_least(program, limits, means):
    devices = program.draw_devices(*limits, count=15, seed=7)
    for row, mean in zip(program.by_noise(devices, 1), means, strict=True):
        assert row["mean_ratio"] <= mean


def test_constants_are_put_back(program):
    before = probing._HOPELESS, energy_optimal._DOUBT
    with program.constants(9.0, 0.5):
        assert (probing._HOPELESS, energy_optimal._DOUBT) == (9.0, 0.5)
    assert before == (probing._HOPELESS, energy_optimal._DOUBT)


def test_a_device_is_judged_with_the_constants_that_do_best_on_the_others(program):
    tables = {"a": program.draw_devices(3, 5, count=2), "b": program.draw_devices(6, 8, count=2)}
    rows = program.left_out(tables, 1)
    best = min(program.GRID, key=lambda pair: program._mean_of(tables["b"], pair))
    assert (rows["a"]["hopeless"], rows["a"]["doubt"]) == best
