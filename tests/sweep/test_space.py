"""Spaces are read from Hydra's sweep grammar; what a sampler suggests becomes overrides again."""

import pytest

from overwinter.errors import ConfigError
from overwinter.sweep.space import read_space


@pytest.mark.parametrize(
    ("override", "texts", "ordered"),
    [
        ("quantize=int8_static,none", ("int8_static", "none"), False),
        ("sparsify.amount=0.9,0.5,0.7", ("0.5", "0.7", "0.9"), True),
        ("seed=range(1,8,3)", ("1", "4", "7"), True),
        ("x=choice('a b',c)", ("a\\ b", "c"), False),
        ("x=[1,2],[3]", ("[1,2]", "[3]"), False),
        ("x=1,1,2", ("1", "2"), True),
        ("x=1,null", ("1", "null"), False),
    ],
)
def test_a_choice_keeps_its_values_and_orders_numbers(override, texts, ordered):
    (parameter,) = read_space([override]).parameters
    assert (parameter.texts, parameter.ordered) == (texts, ordered)
    written = [parameter.override(value) for value in parameter.values()]
    assert written == [f"{override.partition('=')[0]}={text}" for text in texts]


@pytest.mark.parametrize(
    ("override", "low", "high", "whole", "log"),
    [
        ("x=interval(0.1,0.5)", 0.1, 0.5, False, False),
        ("x=int(interval(1,5))", 1, 5, True, False),
        ("x=tag(log,interval(1e-4,1e-1))", 1e-4, 1e-1, False, True),
        ("x=tag(log,int(interval(1,64)))", 1, 64, True, True),
    ],
)
def test_an_interval_keeps_its_ends_its_kind_and_its_scale(override, low, high, whole, log):
    (parameter,) = read_space([override]).parameters
    assert (parameter.low, parameter.high, parameter.whole, parameter.log) == (low, high, whole, log)
    assert parameter.distribution().log is log


def test_a_number_of_an_interval_is_short_and_never_leaves_it():
    (parameter,) = read_space(["x=interval(0.12344,0.98765)"]).parameters
    assert parameter.override(0.5555555) == "x=0.5556"
    assert parameter.override(0.98765) == "x=0.98765"
    assert parameter.override(0.12344) == "x=0.12344"


def test_a_job_has_the_fixed_overrides_and_one_value_of_each_key():
    space = read_space(["seed=3", "+a=x,y", "b=int(interval(1,3))"])
    jobs = [space.job(values) for values in space.points()]
    assert space.size() == len(set(jobs)) == 6
    assert jobs[0] == space.example() == ("seed=3", "+a=x", "b=1")
    assert jobs[-1] == ("seed=3", "+a=y", "b=3")


def test_of_two_overrides_of_a_key_the_later_wins():
    space = read_space(["a=1,2", "b=1", "a=5", "b=x,y"])
    assert space.fixed == ("a=5",)
    assert [each.key for each in space.parameters] == ["b"]


def test_a_space_with_an_interval_of_real_numbers_cannot_be_listed():
    space = read_space(["x=interval(0,1)", "y=1,2"])
    assert space.size() is None
    with pytest.raises(ConfigError, match=r"x is an interval"):
        list(space.points())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "needs a key with several values"),
        (["seed=1"], "needs a key with several values"),
        (["x=interval(5,1)"], r"x=interval\(5,1\) is empty"),
        (["x=tag(log,interval(0,1))"], "must start above 0"),
        (["x=tag(lg,interval(1,2))"], "Did you mean 'log'"),
        (["x=tag(log,choice(1,2))"], "Tags are of intervals"),
        (["x=range(1,1)"], "has no values"),
        (["x=1,2)"], "."),
    ],
)
def test_what_cannot_be_searched_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        read_space(overrides)


@pytest.mark.parametrize(
    ("override", "values", "places"),
    [
        ("x=0.9,0.5,0.7", [0, 1, 2], [0.0, 0.5, 1.0]),
        ("x=b,a", ["b", "b", "a"], [0.0, 0.0, 1.0]),
        ("x=int(interval(1,5))", [1, 3, 5], [0.0, 0.5, 1.0]),
        ("x=tag(log,interval(0.01,1))", [0.01, 0.1, 1.0], [0.0, 0.5, 1.0]),
        ("x=interval(2,2)", [2, 2, 2], [0.0, 0.0, 0.0]),
    ],
)
def test_a_value_has_a_place_and_a_share_has_a_value(override, values, places):
    (parameter,) = read_space([override]).parameters
    assert [parameter.at(share) for share in (0.0, 0.49999 if "b" in values else 0.5, 1.0)] == pytest.approx(values)
    assert [parameter.place(value) for value in values] == pytest.approx(places)
