import time

from overwinter.evaluation.disturbance import CoreWatch, is_disturbed


def test_a_sample_that_had_the_core_to_itself_is_kept():
    assert not is_disturbed(wall_s=0.05, own_cpu_s=0.05, foreign_s=0.0)


def test_ticks_of_the_kernels_clock_are_no_disturbance():
    assert not is_disturbed(wall_s=0.05, own_cpu_s=0.05, foreign_s=0.02)


def test_a_sample_that_was_made_to_wait_is_dropped():
    assert is_disturbed(wall_s=0.05, own_cpu_s=0.03, foreign_s=0.0)


def test_a_busy_neighbour_is_a_disturbance():
    assert is_disturbed(wall_s=0.05, own_cpu_s=0.05, foreign_s=0.05)


def test_several_threads_of_our_own_are_none():
    assert not is_disturbed(wall_s=0.05, own_cpu_s=0.1, foreign_s=0.0)


def test_own_work_is_not_counted_as_foreign(monkeypatch):
    busy_s = iter([100.0, 100.3])
    own_s = iter([1.0, 1.2])
    monkeypatch.setattr("overwinter.evaluation.disturbance._busy_s", lambda: next(busy_s))
    monkeypatch.setattr(time, "process_time", lambda: next(own_s))
    assert abs(CoreWatch().foreign_s() - 0.1) < 1e-9


def test_the_real_clocks_never_give_less_than_nothing():
    watch = CoreWatch()
    end_s = time.process_time() + 0.05
    while time.process_time() < end_s:
        pass
    assert watch.foreign_s() >= 0.0
