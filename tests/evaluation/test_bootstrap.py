import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.evaluation.bootstrap import bootstrap_interval

VALUES = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=40)


@settings(max_examples=50)
@given(VALUES, st.sampled_from([0.5, 0.9, 0.99]))
def test_the_interval_is_ordered_and_within_the_samples(values, confidence):
    low, high = bootstrap_interval(values, confidence=confidence, seed=0)
    assert min(values) <= low <= high <= max(values)


@settings(max_examples=30)
@given(VALUES)
def test_more_confidence_is_a_wider_interval(values):
    narrow = bootstrap_interval(values, confidence=0.8, seed=0)
    wide = bootstrap_interval(values, confidence=0.99, seed=0)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


@given(VALUES)
def test_a_seed_gives_the_same_interval(values):
    once, again = (bootstrap_interval(values, confidence=0.95, seed=3) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("draw", ["normal", "lognormal"])
def test_it_covers_the_true_median_about_as_often_as_it_says(draw):
    generator = np.random.default_rng(0)
    true_median = {"normal": 0.0, "lognormal": 1.0}[draw]
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(getattr(generator, draw)(size=15).tolist(), confidence=0.95, seed=trial)
        covered += low <= true_median <= high
    # 95 % nominal; 15 samples are few, and 200 trials have a standard error of 1.5 points.
    assert covered >= 0.88 * 200
    assert covered < 200, "an interval that is never wrong is too wide"


def test_no_sample_is_refused():
    with pytest.raises(ConfigError, match=r"evaluate.repeats"):
        bootstrap_interval([], confidence=0.95, seed=0)
