from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from overwinter.power.interface import OperatingPoint
from overwinter.power.planning import envelope, plan

points_strategy = st.lists(
    st.tuples(st.floats(0.1, 2.0), st.floats(20.0, 400.0)), min_size=1, max_size=6, unique_by=lambda each: each[0]
).map(
    lambda pairs: tuple(
        OperatingPoint(limit_w=100.0 + 10 * place, power_w=power, speed_per_s=speed)
        for place, (speed, power) in enumerate(sorted(pairs))
    )
)
prices_strategy = st.lists(st.floats(-200, 900), min_size=1, max_size=7)


def least_by_solver(prices, durations, work, points, idle_w):
    """The same problem as a linear programme: seconds spent at each point in each step; idle before the end."""
    ends = [len(prices)] if idle_w == 0 else range(1, len(prices) + 1)
    found = [_least(prices, durations, work, points, idle_w, end) for end in ends]
    return min(cost for cost in found if cost is not None)


def _least(prices, durations, work, points, idle_w, end):
    cost, speed, rows = [], [], []
    for step in range(end):
        idle = 0.0 if idle_w == 0 or step == end - 1 else idle_w
        options = [(0.0, idle), *((point.speed_per_s, point.power_w) for point in points)]
        for option_speed, power in options:
            cost.append(prices[step] * power)
            speed.append(option_speed)
            rows.append(step)
    spend = np.array([[1.0 if row == step else 0.0 for row in rows] for step in range(end)])
    found = linprog(
        cost, A_eq=np.vstack([spend, speed]), b_eq=[*durations[:end], work], bounds=(0, None), method="highs"
    )
    return found.fun if found.success else None


@given(points_strategy, prices_strategy, st.floats(0.01, 1.0), st.sampled_from([0.0, 25.0]), st.floats(0.2, 1.0))
@settings(max_examples=60)
def test_the_plan_equals_the_linear_programme_s_optimum(points, prices, load, idle_w, last):
    durations = np.ones(len(prices))
    durations[-1] = last
    work = load * durations.sum() * max(point.speed_per_s for point in points)
    found = plan(np.array(prices), durations, work, points, idle_w)
    expected = least_by_solver(prices, durations, work, points, idle_w)
    assert found.work.sum() == pytest.approx(work)
    assert found.cost == pytest.approx(expected, rel=1e-6, abs=1e-4)


@given(points_strategy, prices_strategy, st.floats(0.01, 1.0), st.sampled_from([0.0, 25.0, None]))
@settings(max_examples=80)
def test_no_step_gets_more_work_than_fits(points, prices, load, idle_w):
    durations = np.linspace(1.0, 0.5, len(prices))
    top = max(point.speed_per_s for point in points)
    found = plan(np.array(prices), durations, load * durations.sum() * top, points, idle_w)
    assert (found.work >= -1e-9).all()
    assert (found.work <= durations * top * (1 + 1e-9)).all()


@given(points_strategy, st.lists(st.floats(1, 900), min_size=2, max_size=12), st.sampled_from([0.0, 25.0]))
@settings(max_examples=60)
def test_more_time_never_costs_more(points, prices, idle_w):
    top = max(point.speed_per_s for point in points)
    costs = [
        plan(np.array(prices[:end]), np.ones(end), 0.9 * top, points, idle_w).cost for end in range(1, len(prices) + 1)
    ]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(costs))


@given(points_strategy, st.sampled_from([0.0, 30.0, None]))
def test_no_point_lies_below_the_lower_hull_or_above_the_upper(points, idle_w):
    curve = envelope(points, idle_w)
    for point in points:
        low = np.interp(point.speed_per_s, curve.lower.speeds, curve.lower.powers)
        high = np.interp(point.speed_per_s, curve.upper.speeds, curve.upper.powers)
        assert low - 1e-6 <= point.power_w <= high + 1e-6


def test_the_cheapest_hour_is_filled_first():
    point = OperatingPoint(limit_w=200, power_w=150, speed_per_s=1.0)
    found = plan(np.array([300.0, 100.0, 200.0]), np.ones(3), 1.5, (point,), 0.0)
    assert found.work.tolist() == [0.0, 1.0, 0.5]


def test_paid_pauses_make_the_work_end_early():
    point = OperatingPoint(limit_w=200, power_w=150, speed_per_s=1.0)
    prices = np.array([110.0, *[105.0] * 20, 100.0])
    waiting = plan(prices, np.ones(22), 1.0, (point,), 0.0)
    going = plan(prices, np.ones(22), 1.0, (point,), 25.0)
    assert waiting.work[-1] == 1.0
    assert going.end_step == 0


def test_without_pauses_the_slowest_point_is_the_least():
    slow = OperatingPoint(limit_w=100, power_w=60, speed_per_s=0.5)
    fast = OperatingPoint(limit_w=200, power_w=150, speed_per_s=1.0)
    found = plan(np.array([100.0, 900.0, 100.0]), np.ones(3), 2.2, (slow, fast), None)
    assert found.work[1] == pytest.approx(0.5)
