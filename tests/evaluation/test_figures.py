import numpy as np
import pytest

from overwinter.evaluation.figures import summarize
from overwinter.evaluation.joules import Rates
from overwinter.evaluation.timing import Sample


def sample(cpu_s=0.05, *, responses=100, wall_s=0.05, energy_j=None, foreign_s=0.0):
    return Sample(
        responses=responses,
        wall_s=wall_s,
        cpu_s=cpu_s,
        energy_j=energy_j,
        latencies_s=np.full(responses, wall_s / responses),
        foreign_s=foreign_s,
    )


def summary(samples):
    return summarize(samples, rates=Rates(busy_j_per_cpu_s=15.0, idle_w=5.0, threads=1), confidence=0.95, seed=0)


def test_figures_are_per_response():
    figures = summary([sample(0.05)] * 5)
    assert figures.cpu_s_per_response == pytest.approx(0.0005)
    assert figures.energy_per_response_j == pytest.approx(0.01)
    assert figures.energy_above_idle_per_response_j == pytest.approx(0.0075)
    assert figures.responses_per_s == pytest.approx(2000)
    assert figures.latency_p50_s == pytest.approx(0.0005)
    assert figures.measured is False
    assert figures.quiet is True


def test_counted_joules_are_taken_as_they_are_and_say_so():
    figures = summary([sample(energy_j=3.0)] * 5)
    assert figures.energy_per_response_j == pytest.approx(0.03)
    assert figures.energy_above_idle_per_response_j == pytest.approx((3.0 - 5.0 * 0.05) / 100)
    assert figures.measured is True


def test_disturbed_samples_are_dropped():
    figures = summary([sample(0.05)] * 5 + [sample(0.09, wall_s=0.09, foreign_s=1.0)] * 5)
    assert figures.cpu_s_per_response_ci == pytest.approx((0.0005, 0.0005))
    assert (figures.samples, figures.disturbed_samples, figures.quiet) == (5, 5, True)


def test_on_a_machine_that_is_never_quiet_the_least_disturbed_half_counts_and_it_says_so():
    figures = summary([sample(0.05, foreign_s=0.06)] * 5 + [sample(0.09, wall_s=0.09, foreign_s=1.0)] * 5)
    assert figures.cpu_s_per_response == pytest.approx(0.0005)
    assert (figures.samples, figures.disturbed_samples, figures.quiet) == (5, 10, False)


def test_the_interval_holds_the_figure():
    generator = np.random.default_rng(0)
    samples = [sample(cpu_s) for cpu_s in generator.uniform(0.05, 0.06, size=15)]
    figures = summary(samples)
    low, high = figures.cpu_s_per_response_ci
    assert low < figures.cpu_s_per_response < high
    assert figures.energy_per_response_ci_j == pytest.approx((20 * low, 20 * high))
