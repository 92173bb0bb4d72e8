"""Payback by the rate of responses."""

import pytest

from overwinter.report.page.content import Payback


def payback(responses, *, at_worst=None, per_day=None):
    return Payback(
        stages=("sparsify",), spent_j=200.0, responses=responses, responses_at_worst=at_worst, responses_per_day=per_day
    )


def test_the_table_has_usual_rates_and_the_expected_one():
    rows = payback(1e6, at_worst=2e6, per_day=5e4).table
    assert [row.responses_per_day for row in rows] == [1e3, 5e4, 1e5, 1e7]
    assert (rows[1].days, rows[1].days_at_worst) == (20.0, 40.0)
    assert rows[1].first_year_j == pytest.approx(365 * 5e4 * 200 / 1e6 - 200)
    assert rows[0].first_year_j < 0  # a thousand a day earn back after a thousand days


def test_what_is_never_earned_back_has_no_table():
    assert payback(None).table == ()
    assert payback(1e6).table[0].days_at_worst is None
