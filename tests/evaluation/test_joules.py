import pytest

from overwinter.errors import ConfigError
from overwinter.evaluation.joules import CpuJoules, Rates


class Clock:
    """Stand-in for `time`: work and waiting take exactly their stated time."""

    def __init__(self):
        self.wall_s = self.cpu_s = 0.0

    def perf_counter(self):
        return self.wall_s

    def process_time(self):
        return self.cpu_s

    def sleep(self, duration_s):
        self.wall_s += duration_s

    def work(self, duration_s):
        self.wall_s += duration_s
        self.cpu_s += duration_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("overwinter.evaluation.joules.time", clock)
    return clock


def test_without_a_counter_joules_follow_from_cpu_seconds(make_meter, clock):
    joules = CpuJoules(make_meter("modelled", clock=clock))
    with joules.piece() as reading:
        clock.work(0.01)
    assert reading.energy_j is None
    assert joules.measured is False


@pytest.mark.parametrize("waiting_s", [0.0, 0.2])
def test_waiting_does_not_make_a_response_dearer(make_meter, clock, waiting_s):
    """A busy neighbour makes the comparison last longer; a CPU-second costs what it costs."""
    joules = CpuJoules(make_meter("modelled", clock=clock))
    clock.work(0.2)
    clock.sleep(waiting_s)
    rates = joules.rates(threads=1)
    assert rates.total_j(cpu_s=1.0, counted_j=None) == pytest.approx(30 + 10)
    assert rates.above_idle_j(cpu_s=1.0, wall_s=1.0, counted_j=None) == pytest.approx(30)


def test_threads_share_the_idle_power(make_meter, clock):
    joules = CpuJoules(make_meter("modelled", clock=clock))
    clock.work(0.2)
    assert joules.rates(threads=2).total_j(cpu_s=1.0, counted_j=None) == pytest.approx(30 + 5)


def test_a_counter_is_read_around_the_work_and_a_gpu_left_out(make_meter, clock):
    meter = make_meter("rapl", "cpu:package-0", clock=clock)
    joules = CpuJoules(meter)
    assert joules.measured is True
    with joules.piece() as reading:
        clock.work(0.05)
    assert reading.energy_j == pytest.approx(40 * 0.05)
    assert meter.windows[-1] == "responses"


@pytest.mark.parametrize(("source", "device"), [("rapl", "platform"), ("hwmon", "machine:vdd_in")])
def test_a_meter_of_what_contains_the_cpu_counts_for_it(make_meter, clock, source, device):
    joules = CpuJoules(make_meter(source, device, clock=clock))
    assert joules.measured is True
    with joules.piece() as reading:
        clock.work(0.05)
    assert reading.energy_j == pytest.approx(40 * 0.05)


def test_a_meter_without_the_cpu_is_refused(make_meter, clock):
    joules = CpuJoules(make_meter("nvml-counter", "gpu:1", clock=clock))
    with pytest.raises(ConfigError, match=r"Add `modelled` to energy\.sources"):
        joules.rates(threads=1)


def test_counted_joules_are_taken_as_they_are_and_an_idle_cpu_would_have_drawn_some_of_them():
    rates = Rates(busy_j_per_cpu_s=30, idle_w=10, threads=1)
    assert rates.total_j(cpu_s=1.0, counted_j=7.0) == 7.0
    assert rates.above_idle_j(cpu_s=1.0, wall_s=0.5, counted_j=7.0) == 2.0
    assert rates.above_idle_j(cpu_s=1.0, wall_s=0.5, counted_j=4.0) == 0.0
