"""docs/compare.md: its limits are limits, its names are names, and its figures are those of the code."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from overwinter.comparison import FigureChange, RunComparison, parse_limit, production, responses
from overwinter.comparison.limits import CHANGE, LEVEL, RELATIVE, check_names
from overwinter.comparison.records import BEYOND, EQUAL, INCOMPARABLE, MISSING, SAME, UNKNOWN, WITHIN
from overwinter.comparison.statistics import difference_interval, estimate
from overwinter.errors import ConfigError
from overwinter.evaluation.figures import kept
from overwinter.evaluation.intervals import share_interval

PAGE = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
REFUSED = "accuracy < 97"
LIMITS = [each for each in re.findall(r"[`']([a-z_.]+ [<>] [^`']+)[`']", PAGE) if each != REFUSED]


@pytest.mark.parametrize("expression", LIMITS)
def test_every_limit_of_the_page_is_read(expression):
    limit = parse_limit(expression)
    beyond_noise = next((line for line in PAGE.splitlines() if f"| `{expression}`" in line), "")
    if beyond_noise:
        assert (limit.kind in (CHANGE, RELATIVE)) == ("beyond the noise" in beyond_noise)
        assert (limit.kind == LEVEL) == ("B's figure" in beyond_noise)


def test_the_limit_that_the_page_calls_refused_is_refused():
    share = FigureChange(name="accuracy", unit="share", verdict=UNKNOWN)
    assert f"`{REFUSED}`, without the %, is refused" in PAGE
    with pytest.raises(ConfigError, match="Did you mean 97 %"):
        check_names((parse_limit(REFUSED),), RunComparison(a="a", b="b", figures=(share,)))


def test_the_page_has_limits_of_every_kind():
    assert {parse_limit(text).kind for text in LIMITS} == {CHANGE, LEVEL, RELATIVE}


def test_the_assumed_noise_is_that_of_the_code():
    energy, produced = (100 * each.deviation for each in (responses.ASSUMED, production.ASSUMED))
    assert f"{energy:.0f} % is assumed for joules per response and {produced:.0f} % for joules to produce" in PAGE


def test_the_repeats_that_always_leave_an_interval_are_those_of_the_code():
    def fewest_left(repeats):
        sample = SimpleNamespace(foreign_s=0.1, waited_s=0.0, wall_s=1.0)
        disturbed = [[place < count for place in range(repeats)] for count in range(repeats + 1)]
        return min(len(kept([SimpleNamespace(**vars(sample), disturbed=d) for d in each])) for each in disturbed)

    enough = next(repeats for repeats in range(3, 40) if fewest_left(repeats) >= responses.FEWEST_SAMPLES)
    assert f"`evaluate.repeats={enough}` or more always" in PAGE
    assert f"used fewer than {responses.FEWEST_SAMPLES} samples" in PAGE


@pytest.mark.parametrize("verdict", [BEYOND, WITHIN, EQUAL, SAME, INCOMPARABLE, UNKNOWN, MISSING])
def test_every_verdict_is_explained(verdict):
    assert f"| `{verdict}` |" in PAGE


def test_a_loss_that_goes_unseen_is_as_large_as_the_page_says():
    def share(right):
        return estimate(right / 359, *share_interval(np.arange(359) < right, confidence=0.95))

    best = 355  # 99 %
    unseen = [right for right in range(best) if difference_interval(share(best), share(right))[1] >= 0]
    points = 100 * (best - min(unseen)) / 359
    assert f"{points:.0f} points of an accuracy of 99 %" in PAGE
