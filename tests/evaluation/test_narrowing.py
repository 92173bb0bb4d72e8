import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overwinter.evaluation.narrowing import Narrowing
from overwinter.evaluation.timing import Sample


def samples(*costs_s, energy_j=None):
    return [
        Sample(
            responses=1, wall_s=cost_s, cpu_s=cost_s, energy_j=energy_j, latencies_s=np.array([cost_s]), foreign_s=0.0
        )
        for cost_s in costs_s
    ]


def narrowing(*contenders, precision=0.02, max_samples=8):
    return Narrowing(
        batch_size=1,
        contenders=contenders,
        precision=precision,
        max_samples=max_samples,
        confidence=0.95,
        seed=0,
    )


WIDE, NEAR, FAR = samples(0.8, 1.0, 1.2, 1.4), samples(0.9, 1.1, 1.3, 1.5), samples(5.0, 5.1, 5.2, 5.3)


def test_what_overlaps_the_cheapest_is_sampled_on_and_nothing_else():
    taken = {("a", 1): WIDE, ("b", 1): NEAR, ("c", 1): FAR, ("a", 32): FAR}
    assert narrowing("a", "b", "c")(taken) == [("a", 1), ("b", 1)]


def test_where_the_cheapest_is_clear_nothing_is():
    assert narrowing("a", "c")({("a", 1): WIDE, ("c", 1): FAR}) == []


def test_narrow_intervals_are_enough_even_where_they_overlap():
    equal = samples(1.0, 1.001, 1.002, 1.003)
    assert narrowing("a", "b")({("a", 1): equal, ("b", 1): list(equal)}) == []


def test_what_may_not_be_chosen_does_not_compete():
    assert narrowing("a")({("a", 1): WIDE, ("b", 1): NEAR}) == []
    assert narrowing()({("a", 1): WIDE}) == []


def test_enough_is_enough():
    assert narrowing("a", "b", max_samples=4)({("a", 1): WIDE, ("b", 1): NEAR}) == []


def test_counted_joules_decide_where_there_are_any():
    taken = {("a", 1): samples(0.8, 1.0, 1.2, 1.4, energy_j=1.0), ("b", 1): samples(0.9, 1.1, 1.3, 1.5, energy_j=9.0)}
    assert narrowing("a", "b")(taken) == []


COSTS = st.lists(st.floats(0.5, 2.0), min_size=3, max_size=8)


@given(st.dictionaries(st.sampled_from("abcd"), COSTS, min_size=1))
def test_it_names_each_contender_at_most_once_and_ends(costs):
    taken = {(name, 1): samples(*each) for name, each in costs.items()}
    ask, rounds = narrowing(*costs), 0
    while wanted := ask(taken):
        assert len(set(wanted)) == len(wanted)
        for key in wanted:
            taken[key] = [*taken[key], taken[key][0]]
        rounds += 1
        assert rounds <= 8 * len(costs)
    assert all(len(each) <= 8 for each in taken.values())
