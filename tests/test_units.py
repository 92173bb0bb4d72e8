import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.units import format_duration, format_si, parse_quantity


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("2 kWh", 7.2e6, "J"),
        ("1.5kJ", 1500.0, "J"),
        ("500 gCO2e", 500.0, "gCO2e"),
        ("30 min", 1800.0, "s"),
        ("1e3 mW", 1.0, "W"),
        ("0.30 EUR", 0.3, "EUR"),
        ("30 %", 0.3, "1"),
        (".5 h", 1800.0, "s"),
    ],
)
def test_a_quantity_is_read_in_base_units(text, value, unit):
    quantity = parse_quantity(text, key="k", dimensions=("energy", "carbon", "time", "power", "money", "share"))
    assert quantity.value == pytest.approx(value)
    assert quantity.unit == unit


@pytest.mark.parametrize("text", ["", "kJ", "5", "5 kj", "five J", "-1 J", "1e400 J", "nan J", "5 J J"])
def test_invalid_quantities_are_refused_with_key_and_value(text):
    with pytest.raises(ConfigError) as caught:
        parse_quantity(text, key="budget.total", dimensions=("energy",))
    assert "budget.total" in str(caught.value)
    assert repr(text) in str(caught.value)


def test_a_unit_of_another_dimension_is_refused_with_the_nearest_allowed():
    with pytest.raises(ConfigError, match="Did you mean 'kWh'"):
        parse_quantity("2 kwh", key="budget.total", dimensions=("energy",))
    with pytest.raises(ConfigError, match="Allowed: mgCO2e"):
        parse_quantity("2 kJ", key="budget.total", dimensions=("carbon",))


@given(st.floats(min_value=1e-8, max_value=1e12))
def test_a_printed_energy_reads_back_to_three_digits(energy_j):
    text = format_si(energy_j, "J")
    number, unit = text.split(" ")
    factor = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}[unit[:-1]]
    assert math.isclose(float(number) * factor, energy_j, rel_tol=0.0051) or energy_j < 1e-9


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0123, "12.3 ms"),
        (0.52, "0.520 s"),
        (59.9, "59.9 s"),
        (59.97, "1 min 00 s"),
        (65, "1 min 05 s"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations_are_readable(duration_s, text):
    assert format_duration(duration_s) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.9, "1.00 kJ"), (1e3, "1.00 kJ"), (123.4, "123 J"), (0, "0 J"), (-1500, "-1.50 kJ")],
)
def test_si_prefixes_round_up_cleanly(value, text):
    assert format_si(value, "J") == text
