import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.sparsity.n_of_m import NOfM
from overwinter.sparsity.patterns import removed
from overwinter.sparsity.scores import squared_errors
from overwinter.sparsity.sparsegpt import solve_sparsegpt
from overwinter.sparsity.swaps import swap_weights
from tests.sparsity.test_sparsegpt import problem

PATTERN = NOfM(kept=2, of=4)


def exactly(dense, sparse, gram):
    """The rows' squared errors in double precision."""
    return squared_errors((dense - sparse).double(), gram.double())


def any_mask(weight, seed, pattern):
    """A mask as any method may have made it, even a random one."""
    scores = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed))
    return weight.masked_fill(removed(scores, 0.5, scope="row", pattern=pattern), 0.0)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), moved=st.booleans(), pattern=st.sampled_from([None, PATTERN]))
def test_no_rows_error_ever_rises(seed, moved, pattern):
    dense, gram = problem(rows=6, columns=16, seed=seed)
    sparse = any_mask(dense, seed, pattern)
    errors = exactly(dense, sparse, gram)
    for rounds in (1, 3, 10):
        refined = swap_weights(dense, sparse, gram, rounds, moved=moved, pattern=pattern)
        now = exactly(dense, refined, gram)
        assert (now <= errors * (1 + 1e-5)).all()
        errors = now


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("pattern", [None, PATTERN])
def test_zeros_stay_as_many_in_each_row_and_in_each_group(pattern, moved):
    dense, gram = problem()
    sparse = any_mask(dense, 0, pattern)
    refined = swap_weights(dense, sparse, gram, 20, moved=moved, pattern=pattern)
    assert not torch.equal(refined, sparse)
    assert torch.equal((refined == 0).sum(1), (sparse == 0).sum(1))
    if pattern is not None:
        assert ((refined.reshape(12, -1, 4) != 0).sum(-1) == 2).all()


def test_a_mask_of_magnitude_is_refined_to_dense_values():
    dense, gram = problem()
    sparse = dense.masked_fill(removed(dense.abs(), 0.5, scope="row"), 0.0)
    refined = swap_weights(dense, sparse, gram, 100, moved=False)
    assert torch.equal(refined, dense.where(refined != 0, 0.0))
    assert float(exactly(dense, refined, gram).sum()) < 0.8 * float(exactly(dense, sparse, gram).sum())


def test_weights_that_sparsegpt_moved_are_refined_too():
    dense, gram = problem()
    sparse = solve_sparsegpt(dense, gram, 0.5, scope="row")
    refined = swap_weights(dense, sparse, gram, 100, moved=True)
    assert float(exactly(dense, refined, gram).sum()) < 0.98 * float(exactly(dense, sparse, gram).sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_best_single_swap_is_found(seed):
    """Of a row so short that all pairs are tried."""
    dense, gram = problem(rows=1, columns=8, seed=seed)
    sparse = any_mask(dense, seed, None)
    tried = [float(exactly(dense, sparse, gram))]
    for gone in sparse[0].nonzero()[:, 0]:
        for come in (sparse[0] == 0).nonzero()[:, 0]:
            swapped = sparse.clone()
            swapped[0, gone], swapped[0, come] = 0.0, dense[0, come]
            tried.append(float(exactly(dense, swapped, gram)))
    refined = swap_weights(dense, sparse, gram, 1, moved=False)
    assert float(exactly(dense, refined, gram)) == pytest.approx(min(tried), rel=1e-4)


def test_nothing_to_gain_changes_nothing():
    dense, gram = problem()
    sparse = swap_weights(dense, any_mask(dense, 0, None), gram, 1000, moved=False)
    assert torch.equal(swap_weights(dense, sparse, gram, 10, moved=False), sparse)
    assert torch.equal(swap_weights(dense, dense, gram, 10, moved=False), dense)
