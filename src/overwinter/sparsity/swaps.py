"""Refining a mask: kept and removed weights of a row change places as long as the row's squared error falls.

SparseSwaps, https://arxiv.org/abs/2512.10922: with the Gram matrix of the inputs the change of the error by a swap is
exact and cheap. Here the pairs tried are those of the most promising weights on either side, as measured by what each
would do alone; and where the kept weights were moved, as by SparseGPT, the one that comes back gets its best value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from overwinter.sparsity.n_of_m import NOfM

_CANDIDATES = 16  # of a row, on either side of a swap
_LEAST = 1e-5  # of a row's error: what a swap must gain, well above float32's rounding
_BYTES = 1 << 28  # of the rows that are refined at once


def swap_weights(
    dense: torch.Tensor,
    sparse: torch.Tensor,
    gram: torch.Tensor,
    rounds: int,
    *,
    moved: bool,
    pattern: NOfM | None = None,
) -> torch.Tensor:
    """Return a weight with as many zeros in each row, and no larger a squared error of any row's outputs.

    Args:
        dense: weight (rows, columns), float32.
        sparse: the same with zeros.
        gram: (columns, columns), sum of x x^T over the inputs x.
        rounds: in each, a row swaps one pair, or none if no swap gains.
        moved: whether kept weights are others than the dense ones; then the one that comes back gets the value of least
            error, else its dense value.
        pattern: if given, only weights of the same group of M change places.
    """
    at_once = max(1, _BYTES // (4 * dense.shape[1]))
    refined = [
        _Rows(dense=wanted, sparse=now.clone(), gram=gram, moved=moved, pattern=pattern).refine(rounds)
        for wanted, now in zip(torch.split(dense, at_once), torch.split(sparse, at_once), strict=True)
    ]
    return torch.cat(refined)


@dataclass(frozen=True, kw_only=True)
class _Swaps:
    """One swap for each row: which column goes, which comes, with which value, and what the squared error gains."""

    gone: torch.Tensor  # (rows,)
    come: torch.Tensor  # (rows,)
    value: torch.Tensor  # (rows,)
    change: torch.Tensor  # (rows,), negative: a gain


@dataclass(kw_only=True)
class _Rows:
    """Rows that are refined together."""

    dense: torch.Tensor  # (rows, columns)
    sparse: torch.Tensor
    gram: torch.Tensor
    moved: bool
    pattern: NOfM | None

    def refine(self, rounds: int) -> torch.Tensor:
        """Swap, and return the sparse weight."""
        pull = (self.dense - self.sparse) @ self.gram  # down the gradient of the squared error, (rows, columns)
        errors = ((self.dense - self.sparse) * pull).sum(1)  # (rows,)
        active = torch.arange(len(pull), device=pull.device)
        for _ in range(rounds):
            swaps = self._best(active, pull[active])
            gains = swaps.change < -_LEAST * errors[active].clamp(min=0.0)
            active = active[gains]
            if not len(active):
                break
            gone, come, value = swaps.gone[gains], swaps.come[gains], swaps.value[gains]
            leaving = self.sparse[active, gone]
            pull[active] += leaving[:, None] * self.gram[gone] - value[:, None] * self.gram[come]
            self.sparse[active, gone] = 0.0
            self.sparse[active, come] = value
            errors[active] += swaps.change[gains]
        return self.sparse

    def _best(self, active: torch.Tensor, pull: torch.Tensor) -> _Swaps:
        """Return the best swap of each row found."""
        gone, come = self._candidates(active, pull)  # (rows, pairs), both of them
        rows = active[:, None]
        leaving, energy = self.sparse[rows, gone], self.gram.diagonal()
        # The error's change as the one goes, and the pull on the other from then on.
        change = leaving * (2 * pull.gather(1, gone) + leaving * energy[gone])
        pulled = pull.gather(1, come) + leaving * self.gram[gone, come]
        value = pulled / energy[come].clamp(min=torch.finfo(pull.dtype).tiny) if self.moved else self.dense[rows, come]
        change = change + value * (value * energy[come] - 2 * pulled)
        possible = (leaving != 0) & (self.sparse[rows, come] == 0) & (value != 0)
        change, best = change.masked_fill(~possible, torch.inf).min(1, keepdim=True)  # (rows, 1)
        gone, come, value = (each.gather(1, best)[:, 0] for each in (gone, come, value))
        return _Swaps(gone=gone, come=come, value=value, change=change[:, 0])

    def _candidates(self, active: torch.Tensor, pull: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the columns that go and that come (rows, pairs)."""
        if self.pattern is not None:
            return _pairs_of_groups(pull, self.pattern)
        now, energy = self.sparse[active], self.gram.diagonal()
        kept = now != 0
        going = now * (2 * pull + now * energy)  # what each would do alone
        if self.moved:
            coming = -pull.square() / energy.clamp(min=torch.finfo(pull.dtype).tiny)
        else:
            value = self.dense[active]
            coming = value * (value * energy - 2 * pull)
        count = min(_CANDIDATES, pull.shape[1])
        gone = going.masked_fill(~kept, torch.inf).topk(count, largest=False).indices
        come = coming.masked_fill(kept, torch.inf).topk(count, largest=False).indices
        pairs = (len(active), count, count)
        return gone[:, :, None].expand(pairs).flatten(1), come[:, None].expand(pairs).flatten(1)


def _pairs_of_groups(pull: torch.Tensor, pattern: NOfM) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all pairs of columns of the same group, in either order."""
    rows, columns = pull.shape
    places = torch.arange(columns, device=pull.device).view(-1, pattern.of)  # (groups, M)
    pairs = (*places.shape, pattern.of)
    gone, come = places[:, :, None].expand(pairs).flatten(), places[:, None].expand(pairs).flatten()
    other = gone != come
    return gone[other].expand(rows, -1), come[other].expand(rows, -1)
