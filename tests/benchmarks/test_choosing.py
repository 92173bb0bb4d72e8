"""Evaluation of a choice in benchmarks/choosing.py."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def program(load_benchmark):
    return load_benchmark("choosing")


def judged(program, chosen, *, second_cost, interval_end=1.0):
    costs = {"dense@a": (1.0, (0.99, interval_end)), "int8@a": (second_cost, (second_cost, second_cost))}
    longer = {
        name: SimpleNamespace(cpu_s_per_response=cost, cpu_s_per_response_ci=interval)
        for name, (cost, interval) in costs.items()
    }
    return program.verdict(SimpleNamespace(chosen=SimpleNamespace(name=chosen), pays=False), longer)


@pytest.mark.parametrize(
    ("second_cost", "interval_end", "right"), [(1.03, 1.0, True), (1.04, 1.0, False), (1.04, 1.05, True)]
)
def test_a_choice_is_right_within_3_percent_or_inside_the_bests_interval(program, second_cost, interval_end, right):
    row = judged(program, "int8@a", second_cost=second_cost, interval_end=interval_end)
    assert row["right"] is right
    assert (row["best"], row["second"], row["ratio_of_second"]) == ("dense@a", "int8@a", second_cost)
    assert judged(program, "dense@a", second_cost=second_cost)["right"]


def test_near_ties_are_counted_apart(program):
    rows = {
        "far": judged(program, "dense@a", second_cost=1.5),
        "near and right": judged(program, "dense@a", second_cost=1.05),
        "near and wrong": judged(program, "int8@a", second_cost=1.09),
    }
    assert program.counted(rows) == {"right": 2, "of": 3, "right_near_ties": 1, "near_ties": 2}
