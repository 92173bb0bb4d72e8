import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.sparsity.n_of_m import NOfM
from overwinter.sparsity.patterns import removed, row_counts, smallest

SIZES = st.integers(1, 12)
AMOUNTS = st.floats(0, 0.99)


def scores(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@given(rows=SIZES, columns=SIZES, amount=AMOUNTS)
def test_each_row_loses_its_smallest_and_keeps_one(rows, columns, amount):
    given_scores = scores(rows, columns)
    gone = removed(given_scores, amount, scope="row")
    assert int((~gone).sum(1).min()) >= 1
    assert gone.sum(1).tolist() == row_counts(amount, rows, columns).tolist()
    for row, mask in zip(given_scores, gone, strict=True):
        assert not mask.any() or row[mask].max() <= row[~mask].min()


@given(rows=st.integers(1, 40), columns=st.integers(2, 40), amount=AMOUNTS)
def test_the_rows_of_a_layer_lose_the_amount_together_and_differ_by_one(rows, columns, amount):
    counts = row_counts(amount, rows, columns)
    assert int(counts.max() - counts.min()) <= 1
    if int(counts.max()) < columns - 1:
        assert int(counts.sum()) == round(amount * rows * columns)


@given(rows=SIZES, columns=SIZES, amount=AMOUNTS)
def test_a_layer_loses_its_smallest(rows, columns, amount):
    given_scores = scores(rows, columns)
    gone = removed(given_scores, amount, scope="layer")
    assert int(gone.sum()) == min(round(amount * rows * columns), rows * columns - 1)
    assert not gone.any() or given_scores[gone].max() <= given_scores[~gone].min()


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (4, 8), (1, 4), (3, 4)])
def test_of_every_m_exactly_n_stay(kept, of):
    gone = removed(scores(2, 3, 16), 0.5, scope="row", pattern=NOfM(kept=kept, of=of))
    assert (~gone.reshape(2, 3, -1, of)).sum(-1).unique().tolist() == [kept]


def test_the_smallest_of_several_tensors_are_found_together():
    first, second = torch.tensor([1.0, 5.0]), torch.tensor([[2.0], [0.5]])
    assert [mask.tolist() for mask in smallest([first, second], 0.5)] == [[True, False], [[False], [True]]]


def test_equal_scores_are_not_all_removed():
    assert removed(torch.ones(4, 6), 0.5, scope="row").sum(1).tolist() == [3, 3, 3, 3]
    assert int(removed(torch.ones(4, 6), 0.5, scope="layer").sum()) == 12
