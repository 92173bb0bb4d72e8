"""What points cost, and the order in which a budget buys most of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import Forecast, Range
from overwinter.config import find_project
from overwinter.ledger import ExecutionRecord
from overwinter.sweep.costs import Costs, add_ranges, order_points, total
from overwinter.sweep.points import make_points

STAGES = ("train", "sparsify", "quantize")


def _points(choices):
    """Return keys that contain all choices before them, as prefix keys do."""
    return [
        {stage: "/".join(map(str, chosen[: place + 1])) for place, stage in enumerate(STAGES)} for chosen in choices
    ]


_choices = st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=14)
_costs = st.dictionaries(
    st.sampled_from(
        [
            key
            for keys in _points([(a, b, c) for a in range(3) for b in range(3) for c in range(3)])
            for key in keys.values()
        ]
    ),
    st.floats(0, 100),
)


@given(choices=_choices, cost_j=st.none() | _costs)
def test_every_point_is_in_the_order_once_and_always_in_the_same_place(choices, cost_j):
    points = _points(choices)
    order = order_points(points, cost_j)
    assert sorted(order) == list(range(len(points)))
    assert order == order_points(points, cost_j)


def _added_j(points, order, cost_j):
    paid = set()
    for point in order:
        keys = set(points[point].values())
        yield sum(cost_j.get(key, 0.0) for key in keys - paid)
        paid |= keys


@given(choices=_choices, cost_j=_costs)
def test_with_costs_each_point_adds_least_to_those_before_it(choices, cost_j):
    points = _points(choices)
    order = order_points(points, cost_j)
    paid = set()
    for place, point in enumerate(order):
        adds = {
            other: sum(cost_j.get(key, 0.0) for key in set(points[other].values()) - paid) for other in order[place:]
        }
        assert adds[point] <= min(adds.values()) + 1e-9
        paid |= set(points[point].values())


@given(choices=_choices)
def test_without_costs_points_that_share_a_stage_follow_each_other(choices):
    points = _points(choices)
    trained = [points[point]["train"] for point in order_points(points)]
    assert len([key for place, key in enumerate(trained) if place == 0 or trained[place - 1] != key]) == len(
        set(trained)
    )


def test_a_budget_buys_more_points_cheapest_first():
    points = _points([(0, 0, 0), (1, 0, 0), (1, 0, 1)])
    cost_j = {"0": 90.0, "1": 10.0, "0/0": 1.0, "1/0": 1.0, "0/0/0": 1.0, "1/0/0": 1.0, "1/0/1": 1.0}
    assert order_points(points) == [0, 1, 2]
    assert order_points(points, cost_j) == [1, 2, 0]
    assert list(_added_j(points, [1, 2, 0], cost_j)) == [12.0, 1.0, 92.0]


def _record(point, stage, number=1, **values):
    usual = {"id": f"{stage}{number}", "stage": stage, "configuration_key": "k", "status": "done", "host": "here"}
    usual |= {"prefix_key": point.keys[stage], "energy_j": 10.0, "duration_s": 2.0}
    usual |= {"started_utc": datetime(2026, 7, 1, tzinfo=UTC), "run_id": "run"}
    usual |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
    return ExecutionRecord(**{**dict.fromkeys(ExecutionRecord.__dataclass_fields__), **usual, **values})


@pytest.fixture(scope="module")
def points():
    return make_points(find_project(), [["quantize=none"], ["quantize=int8_dynamic"]], until="evaluate")


def test_what_is_done_or_scheduled_costs_nothing(points):
    none, dynamic = points
    costs = Costs([_record(none, "train")])
    assert costs.missing(none) == ["sparsify", "quantize", "evaluate"]
    assert costs.missing(dynamic, set(none.keys.values())) == ["quantize", "evaluate"]
    assert costs.by_key([none])[none.keys["train"]] == 0.0
    assert costs.point(none).unknown == 3


def test_a_stage_without_a_forecast_is_expected_to_cost_what_it_usually_does(points):
    none, _ = points
    others = [_record(none, "sparsify", number, prefix_key="other", energy_j=10.0 * number) for number in (1, 2, 6)]
    costs = Costs(others)
    assert costs.stage(none, "sparsify").energy_j is None
    assert costs.expected_j(none, "sparsify") == 20.0
    assert costs.expected_j(none, "quantize") == 0.0


def test_sums_are_of_what_is_known_and_count_the_rest():
    one = Range(low=1.0, expected=2.0, high=4.0)
    summed = total(
        [Forecast(stage="a", basis="exact", energy_j=one, duration_s=one), Forecast(stage="b", basis="unknown")]
    )
    assert (summed.energy_j, summed.duration_s, summed.unknown) == (one, one, 1)
    assert add_ranges([one, one, None]) == one.scaled(2)
    assert (total([]) - total([])).energy_j == Range(low=0.0, expected=0.0, high=0.0)
