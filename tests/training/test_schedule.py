import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.training import learning_rate_at


@given(total=st.integers(1, 500), warmup=st.floats(0, 1), peak=st.floats(1e-6, 10))
def test_it_climbs_to_the_peak_and_falls_to_nearly_nothing(total, warmup, peak):
    rates = [learning_rate_at(step, total, peak=peak, warmup_fraction=warmup) for step in range(1, total + 1)]
    assert max(rates) == pytest.approx(peak)
    assert min(rates) > 0
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_cosine_ends_near_zero():
    assert learning_rate_at(100, 100, peak=1.0, warmup_fraction=0.1) < 0.001
    assert learning_rate_at(10, 100, peak=1.0, warmup_fraction=0.1) == 1.0
    assert learning_rate_at(5, 100, peak=1.0, warmup_fraction=0.1) == 0.5
