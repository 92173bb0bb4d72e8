import time

import pytest

from overwinter.errors import ConfigError
from overwinter.evaluation.joules import CpuJoules


def _work(cpu_s):
    end_s = time.process_time() + cpu_s
    while time.process_time() < end_s:
        pass


def test_without_a_counter_joules_follow_from_cpu_seconds(make_meter):
    joules = CpuJoules(make_meter("modelled"))
    with joules.piece() as reading:
        _work(0.01)
    assert reading.energy_j is None
    assert joules.measured is False


@pytest.mark.parametrize("waiting_s", [0.0, 0.2])
def test_waiting_does_not_make_an_answer_dearer(make_meter, waiting_s):
    """A busy neighbour makes the comparison last longer; a CPU-second costs what it costs."""
    joules = CpuJoules(make_meter("modelled"))
    _work(0.2)
    time.sleep(waiting_s)
    assert joules.joules_per_cpu_s(threads=1) == pytest.approx(30 + 10, rel=0.1)


def test_threads_share_the_idle_power(make_meter):
    joules = CpuJoules(make_meter("modelled"))
    _work(0.2)
    assert joules.joules_per_cpu_s(threads=2) == pytest.approx(30 + 5, rel=0.1)


def test_a_counter_is_read_around_the_work_and_a_gpu_left_out(make_meter):
    meter = make_meter("rapl", "cpu:package-0")
    joules = CpuJoules(meter)
    assert joules.measured is True
    with joules.piece() as reading:
        _work(0.05)
    assert reading.energy_j == pytest.approx(40 * 0.05, rel=0.5)
    assert meter.windows[-1] == "answers"


def test_a_meter_without_the_cpu_is_refused(make_meter):
    joules = CpuJoules(make_meter("nvml-counter", "gpu:1"))
    with pytest.raises(ConfigError, match=r"Add `modelled` to energy\.sources"):
        joules.joules_per_cpu_s(threads=1)
