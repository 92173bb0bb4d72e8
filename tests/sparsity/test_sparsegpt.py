import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.sparsity.n_of_m import NOfM
from overwinter.sparsity.patterns import removed
from overwinter.sparsity.scores import squared_errors
from overwinter.sparsity.sparsegpt import solve_sparsegpt


def problem(rows=12, columns=32, seed=0):
    """A weight, and the Gram matrix of inputs that are correlated and of different sizes."""
    randomness = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=randomness) * torch.rand(columns, generator=randomness)
    inputs = torch.randn(200, columns, generator=randomness) @ mixing
    return torch.randn(rows, columns, generator=randomness), inputs.T @ inputs / len(inputs)


def error(dense, sparse, hessian):
    return float(squared_errors(dense - sparse, hessian).sum())


@settings(max_examples=25)
@given(amount=st.floats(0, 0.95), block=st.sampled_from([1, 5, 16, 64]), scope=st.sampled_from(["row", "layer"]))
def test_the_amount_is_removed_whatever_the_blocks(amount, block, scope):
    weight, hessian = problem()
    sparse = solve_sparsegpt(weight, hessian, amount, scope=scope, column_block=block)
    assert int((sparse == 0).sum()) == pytest.approx(round(amount * weight.numel()), abs=1)
    if scope == "row":
        zeros = (sparse == 0).sum(1)
        assert int(zeros.max() - zeros.min()) <= 1


@pytest.mark.parametrize("pattern", [NOfM(kept=2, of=4), NOfM(kept=4, of=8), NOfM(kept=1, of=4)])
def test_of_every_m_columns_n_stay(pattern):
    weight, hessian = problem()
    sparse = solve_sparsegpt(weight, hessian, 0.5, pattern=pattern, column_block=16)
    assert (sparse.reshape(len(weight), -1, pattern.of) != 0).sum(-1).unique().tolist() == [pattern.kept]


@pytest.mark.parametrize("pattern", [None, NOfM(kept=2, of=4)])
@pytest.mark.parametrize("seed", range(3))
def test_the_others_make_up_for_what_is_removed(pattern, seed):
    weight, hessian = problem(seed=seed)
    masked = weight.masked_fill(
        removed(weight.abs() * hessian.diagonal().sqrt(), 0.5, scope="row", pattern=pattern), 0.0
    )
    sparse = solve_sparsegpt(weight, hessian, 0.5, pattern=pattern)
    assert error(weight, sparse, hessian) < 0.85 * error(weight, masked, hessian)


def test_where_inputs_are_independent_it_removes_by_wanda_and_moves_nothing():
    weight, _ = problem()
    hessian = torch.diag(torch.rand(32, generator=torch.Generator().manual_seed(1)) + 0.1)
    sparse = solve_sparsegpt(weight, hessian, 0.5, scope="row", column_block=32, dampening=1e-6)
    gone = removed(weight.abs() * hessian.diagonal().sqrt(), 0.5, scope="row")
    torch.testing.assert_close(sparse, weight.masked_fill(gone, 0.0))


def test_the_weight_that_is_given_stays_as_it_is():
    weight, hessian = problem()
    for given_weight in (weight, weight.T.contiguous().T):
        before = given_weight.clone()
        solve_sparsegpt(given_weight, hessian, 0.5)
        assert torch.equal(given_weight, before)


def test_inputs_that_were_silent_leave_a_finite_weight():
    weight, hessian = problem()
    hessian[:4] = hessian[:, :4] = 0.0
    assert solve_sparsegpt(weight, hessian, 0.5).isfinite().all()
    assert solve_sparsegpt(weight, torch.zeros_like(hessian), 0.5).isfinite().all()
