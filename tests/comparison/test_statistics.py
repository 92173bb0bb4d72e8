"""Intervals of differences against published figures and exact cases."""

import math
import random
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.comparison.statistics import (
    Estimate,
    Noise,
    difference_interval,
    estimate,
    ratio_interval,
    repeat_noise,
    student_quantile,
    widened,
)
from overwinter.evaluation.intervals import share_interval


def share(right, count):
    low, high = share_interval(np.arange(count) < right, confidence=0.95)
    return estimate(right / count, low, high)


# Newcombe (1998), table II: method 10 for 56/70 against 48/80, for 9/10 against 3/10, and for 5/56 against 0/29.
@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_the_difference_of_two_shares_has_newcombes_interval(one, other, low, high):
    assert difference_interval(share(*other), share(*one)) == pytest.approx((low, high), abs=5e-5)


@given(st.floats(1e-9, 1e9), st.floats(0.01, 0.5), st.floats(0.1, 10))
def test_a_ratio_does_not_depend_on_the_unit(value, width, factor):
    a = Estimate(value=value, low=value * (1 - width), high=value * (1 + width))
    b = Estimate(value=value * 2, low=value * 2 * (1 - width), high=value * 2 * (1 + width))
    scaled = [Estimate(value=x.value * factor, low=x.low * factor, high=x.high * factor) for x in (a, b)]
    assert ratio_interval(*scaled) == pytest.approx(ratio_interval(a, b))
    low, high = ratio_interval(a, b)
    assert low < 1.0 < high  # twice as much is a change of one


def test_of_exact_figures_the_interval_is_the_difference():
    a, b = (Estimate(value=value, low=value, high=value) for value in (2.0, 3.0))
    assert difference_interval(a, b) == (1.0, 1.0)
    assert ratio_interval(a, b) == pytest.approx((0.5, 0.5))


def test_few_samples_stretch_a_bootstrap_interval_and_many_do_not():
    plain = estimate(10.0, 9.0, 12.0)
    few, many = (estimate(10.0, 9.0, 12.0, samples=number) for number in (3, 10_000))
    assert (plain.low, plain.high) == pytest.approx((9.0, 12.0))
    assert (many.low, many.high) == pytest.approx((9.0, 12.0), rel=1e-3)
    assert few.high - few.low == pytest.approx(3 * 4.303 / 1.96, rel=1e-3)


def test_an_interval_at_another_level_is_converted():
    assert estimate(0.0, -1.645, 1.645, confidence=0.9).high == pytest.approx(1.96, abs=1e-3)
    assert estimate(0.0, None, 1.0) is None


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (10, 2.228), (100_000, 1.960)])
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student_quantile(freedom) == pytest.approx(quantile, abs=5e-4)


def test_noise_is_the_pooled_spread_of_logarithms():
    rng = random.Random(3)
    one = [math.exp(rng.gauss(0, 0.1)) for _ in range(6)]
    noise = repeat_noise([one])
    assert noise.deviation == pytest.approx(stdev(math.log(value) for value in one))
    assert (noise.freedom, noise.repeats) == (5, 6)
    other = [7 * value for value in one]  # another level, the same spread
    assert repeat_noise([one, other]).deviation == pytest.approx(noise.deviation)
    assert repeat_noise([one, other, [3.0]]).freedom == 10


@pytest.mark.parametrize("groups", [[], [[1.0]], [[1.0, 2.0]], [[1.0], [2.0], [3.0]]])
def test_too_few_repetitions_give_no_noise(groups):
    assert repeat_noise(groups) is None


def test_repetitions_are_a_floor_or_independent_noise_is_added():
    wide, narrow = (Estimate(value=1.0, low=math.exp(-x), high=math.exp(x)) for x in (0.3, 0.01))
    measured = Noise(deviation=0.05, freedom=10**6, repeats=9)
    assert math.log(widened(wide, measured).high) == pytest.approx(0.3)
    assert math.log(widened(narrow, measured).high) == pytest.approx(1.96 * 0.05, abs=1e-4)
    added = widened(wide, measured, independent=True)
    assert math.log(added.high) == pytest.approx(math.hypot(0.3, 1.96 * 0.05), abs=1e-4)


def test_a_figure_that_may_be_zero_keeps_a_wide_interval():
    assert widened(Estimate(value=1.0, low=-1.0, high=2.0), Noise(deviation=0.1, freedom=5, repeats=6)).low < 0.02
