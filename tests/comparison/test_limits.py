"""The grammar of --fail-if, and its judgement: neither flaky nor blind."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from overwinter.comparison import FigureChange, RunComparison, judge, parse_limit
from overwinter.comparison.limits import CHANGE, LEVEL, RELATIVE, check_names
from overwinter.comparison.records import (
    BEYOND,
    EQUAL,
    FAILS,
    HOLDS,
    INCOMPARABLE,
    MISSING,
    NOT_JUDGED,
    UNKNOWN,
    WITHIN,
)
from overwinter.errors import ConfigError

FACTORS = {"energy_per_response": ("J", {"uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1, "kWh": 3.6e6})}
FACTORS["production_energy.train"] = FACTORS["production_energy"] = FACTORS["energy_per_response"]
FACTORS["latency"] = ("s", {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60})
FACTORS["size"] = ("B", {"B": 1, "kB": 1e3, "MB": 1e6})
NUMBERS = st.floats(min_value=0, max_value=1e9)
SPACES = st.sampled_from(["", " ", "  "])


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("energy_per_response > +5 %", RELATIVE, 0.05),
        ("accuracy < -1 %", RELATIVE, -0.01),
        ("accuracy < -1 points", CHANGE, -0.01),
        ("accuracy < 0.97", LEVEL, 0.97),
        ("accuracy<97%", LEVEL, 0.97),
        ("size > 100 kB", LEVEL, 1e5),
        ("size >= +100 kB", CHANGE, 1e5),
        ("production_energy > +10 %", RELATIVE, 0.1),
        ("production_energy.train > 2 kJ", LEVEL, 2e3),
        ("latency > 250 µs", LEVEL, 250e-6),
        ("rmse > +3 USD", CHANGE, 3.0),
    ],
)
def test_each_kind_of_limit_is_read(text, kind, value):
    limit = parse_limit(text)
    assert (limit.kind, limit.value) == (kind, pytest.approx(value))


@given(st.sampled_from(sorted(FACTORS)), st.data(), NUMBERS, st.sampled_from(["", "+", "-"]), SPACES)
def test_a_quantity_is_read_in_base_units_however_it_is_spaced(name, data, number, sign, space):
    _, units = FACTORS[name]
    unit = data.draw(st.sampled_from(sorted(units)))
    comparator = {"": data.draw(st.sampled_from(["<", ">", "<=", ">="])), "+": ">", "-": "<"}[sign]
    limit = parse_limit(f"{space}{name}{space}{comparator}{space}{sign}{space}{number!r}{space}{unit}{space}")
    assert limit.name == name
    assert limit.operator == comparator
    assert limit.kind == (CHANGE if sign else LEVEL)
    assert limit.value == pytest.approx(number * units[unit] * (-1 if sign == "-" else 1))


@given(NUMBERS, st.sampled_from("+-"), st.sampled_from(["size", "accuracy", "latency"]))
def test_a_share_is_a_change_of_as_figure(number, sign, name):
    limit = parse_limit(f"{name} {'>' if sign == '+' else '<'} {sign}{number!r} %")
    assert limit.kind == RELATIVE
    assert limit.value == pytest.approx(number / 100 * (1 if sign == "+" else -1))


@given(st.text(max_size=40))
def test_any_text_is_a_limit_or_refused_in_words(text):
    message, limit = "", None
    try:
        limit = parse_limit(text)
    except ConfigError as error:
        message = str(error)
    if limit is None:
        assert "--fail-if" in message
        assert len(message.splitlines()) <= 3
    else:
        assert math.isfinite(limit.value)
        assert parse_limit(limit.expression) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy", "is not a limit. Write NAME > NUMBER UNIT"),
        ("accuracy = 0.9", "is not a limit"),
        ("> 5 %", "is not a limit"),
        ("accuracy < 0.9 < 1", "is not a limit"),
        ("size > 100", "needs a unit"),
        ("size > 5 J", "wrong unit 'J'"),
        ("size > 5 KB", "wrong unit 'KB'. Allowed: B, kB"),
        ("size > 5 %", r"a change has a sign. Write `> \+5 %`"),
        ("energy_per_response > -5 %", "is `> \\+` or `< -`"),
        ("accuracy < +1 %", "limit on a change"),
        ("energy_per_response > +1e999 J", "finite"),
        ("accuracy < 1e999", "finite"),
        ("accuracy < \u0663", "is not a limit"),
        ("accuracy < 0.\u0663", "is not a limit"),
        ("size > \uff13 kB", "is not a limit"),
        ("size > 1e\u0663 kB", "is not a limit"),
    ],
)
def test_what_is_no_limit_is_refused_in_words(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_limit(text)


def energy(verdict, relative=0.1, **values):
    figures = {"a": 1.0, "b": 1.0 + relative, "difference": relative, "relative": relative}
    return FigureChange(name="energy_per_response", unit="J", better="lower", verdict=verdict, **figures | values)


ACCURACY = FigureChange(
    name="accuracy", unit="share", better="higher", a=0.99, b=0.96, difference=-0.03, relative=-0.0303, verdict=BEYOND
)


def comparison(*figures):
    return RunComparison(a="main", b="workspace", figures=figures)


def judged(text, *figures):
    limit = parse_limit(text)
    check_names((limit,), comparison(*figures))
    return judge(limit, comparison(*figures))


@pytest.mark.parametrize(
    ("relative", "verdict", "status"),
    [
        (0.10, BEYOND, FAILS),
        (0.10, WITHIN, HOLDS),  # not flaky
        (0.04, BEYOND, HOLDS),
        (0.05, BEYOND, HOLDS),  # exactly the limit
        (-0.5, BEYOND, HOLDS),
        (0.0, EQUAL, HOLDS),
        (0.10, UNKNOWN, NOT_JUDGED),  # not blind
        (0.04, UNKNOWN, HOLDS),
        (0.04, INCOMPARABLE, NOT_JUDGED),
    ],
)
def test_a_change_fails_only_beyond_the_limit_and_the_noise(relative, verdict, status):
    assert judged("energy_per_response > +5 %", energy(verdict, relative)).status == status


def test_a_limit_of_no_increase_fails_on_any_real_one():
    assert judged("energy_per_response > +0 %", energy(BEYOND, 0.001)).status == FAILS
    assert judged("energy_per_response > +0 %", energy(EQUAL, 0.0)).status == HOLDS


def test_the_message_says_why():
    values = {"difference_low": -0.05, "difference_high": 0.25, "relative_low": -0.05, "relative_high": 0.25}
    verdict = judged("energy_per_response > +5 %", energy(WITHIN, 0.1, **values))
    assert verdict.message == "+10.0 % (-5.0 to +25.0 %) exceeds it, but is within the noise"
    assert judged("accuracy < -1 points", ACCURACY).message == "-3.00 points, beyond the noise"
    assert judged("accuracy < 0.97", ACCURACY).message == "workspace has 96.00 %"


def test_a_level_needs_only_bs_figure_and_no_noise():
    alone = FigureChange(name="size", unit="B", b=2e5, verdict=MISSING)
    assert judged("size > 100 kB", alone).status == FAILS
    assert judged("size > 200 kB", alone).status == HOLDS
    assert judged("size >= 200 kB", alone).status == FAILS
    assert judged("accuracy < 0.96", ACCURACY).status == HOLDS


@pytest.mark.parametrize("text", ["size > +5 %", "size > 1 kB", "latency > 1 s"])
def test_a_missing_figure_is_not_judged(text):
    missing = FigureChange(name="size", unit="B", a=2e5, verdict=MISSING)
    verdict = judged(text, missing)
    assert verdict.status == NOT_JUDGED
    assert "workspace" in verdict.message


def test_a_figure_that_came_from_nothing_has_grown_by_any_share():
    from_nothing = replace(energy(BEYOND), a=0.0, b=1.0, difference=1.0, relative=None)
    assert judged("energy_per_response > +5 %", from_nothing).status == FAILS


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no figure 'acuracy'. Did you mean 'accuracy'\? Known: accuracy, energy"):
        judged("acuracy < 0.9", ACCURACY)


@pytest.mark.parametrize("text", ["accuracy < 0.9 USD", "accuracy < -1 J", "accuracy < 90 points"])
def test_a_unit_that_the_measure_does_not_have_is_refused(text):
    with pytest.raises(ConfigError, match="accuracy is not in"):
        judged(text, ACCURACY)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("accuracy < 97", r"Did you mean 97 %\?"),
        ("accuracy > 1.5", r"Did you mean 1.5 %\?"),
        ("accuracy < -1", r"Did you mean -1 points\?"),
        ("accuracy < 970", r"judge nothing\.$"),
        ("accuracy < 150 %", r"judge nothing\.$"),
        ("accuracy < -101 points", r"judge nothing\.$"),
    ],
)
def test_more_than_the_whole_of_a_share_is_refused_with_what_may_be_meant(text, hint):
    with pytest.raises(ConfigError, match=f"accuracy is a share, from 0 to 1 or 0 to 100 %.*{hint}"):
        judged(text, ACCURACY)


@pytest.mark.parametrize("text", ["accuracy < 1", "accuracy < 100 %", "accuracy < -0.5", "accuracy < -100 points"])
def test_the_whole_of_a_share_is_a_limit(text):
    assert judged(text, ACCURACY).status in (HOLDS, FAILS)


def test_a_measure_that_is_no_share_takes_any_number():
    error = FigureChange(name="mae", unit="USD", better="lower", a=90.0, b=98.0, difference=8.0, verdict=UNKNOWN)
    assert judged("mae > 97", error).status == FAILS


@given(st.floats(-0.5, 0.5), st.floats(0, 0.5), st.sampled_from([BEYOND, WITHIN]))
def test_a_change_fails_just_if_it_exceeds_the_limit_beyond_the_noise(relative, limit, verdict):
    assume(abs(relative - limit) > 1e-9)
    verdict_of = judged(f"energy_per_response > +{100 * limit!r} %", energy(verdict, relative))
    assert (verdict_of.status == FAILS) == (relative > limit and verdict == BEYOND)
