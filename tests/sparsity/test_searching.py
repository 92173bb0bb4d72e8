import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.errors import RefusedError
from overwinter.sparsity import AmountSearch, Trial, find_largest
from overwinter.tasks import Measure

ACCURACY = Measure(name="accuracy")


def searched(cost, **changes):
    """The search with a model whose loss of quality at an amount is ``cost(amount)``."""
    search = AmountSearch(**({"least": 0.1, "most": 0.9, "max_quality_loss": 0.02, "trials": 6} | changes))
    made = []

    def attempt(amount):
        made.append(amount)
        return Trial(amount=amount, quality_loss=cost(amount), energy_j=1.0, made=f"model {amount}")

    best, trials = find_largest(attempt, search, ACCURACY)
    assert [trial["amount"] for trial in trials] == made
    assert len(made) <= search.trials
    return best, trials


@given(limit=st.floats(0.1, 0.9), trials=st.integers(2, 9))
def test_the_best_trial_is_within_the_limit_and_bisection_comes_close(limit, trials):
    best, _ = searched(lambda amount: amount, max_quality_loss=limit, trials=trials)
    assert best.amount <= limit
    assert limit - best.amount <= 0.8 / 2 ** (trials - 2) + 1e-12
    assert best.made == f"model {best.amount}"


def test_the_most_is_taken_at_once_if_quality_allows_it():
    best, trials = searched(lambda _amount: 0.0)
    assert best.amount == 0.9
    assert len(trials) == 1


def test_a_limit_that_even_the_least_breaks_is_refused_with_what_it_costs():
    with pytest.raises(
        RefusedError, match=r"removing 10\.0% of the weights costs 5\.00 points of accuracy.*2\.00 points"
    ):
        searched(lambda _amount: 0.05)
