"""Pruning a layer at once by what calibration showed of its inputs, and the walk's work that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from overwinter.calibration.statistics import Calls, Gram, as_groups, sharing
from overwinter.sparsity.matrices import matrix_of, set_matrix
from overwinter.sparsity.n_of_m import read_pattern
from overwinter.sparsity.patterns import removed
from overwinter.sparsity.scores import SCORES, output_error
from overwinter.sparsity.settings import OneShotConfig
from overwinter.sparsity.sparsegpt import solve_sparsegpt
from overwinter.sparsity.swaps import swap_weights


def pruned(weight: torch.Tensor, gram: Gram | None, amount: float, config: OneShotConfig) -> torch.Tensor:
    """Return a weight with zeros.

    Args:
        weight: (groups, rows, columns), float32.
        gram: of the layer's inputs; None: there was no calibration, which only magnitude allows.
        amount: share to remove, 0 to below 1.
        config: how.
    """
    pattern, scope = read_pattern(config.pattern), "row" if config.scope == "row" else "layer"
    if config.score != "sparsegpt" or gram is None:
        gone = removed(SCORES[config.score](weight, gram), amount, scope=scope, pattern=pattern)
        sparse = weight.masked_fill(gone, 0.0)
    else:
        solved = [
            solve_sparsegpt(each, products / gram.rows, amount, scope=scope, pattern=pattern, **vars(config.sparsegpt))
            for each, products in zip(weight, gram.products, strict=True)
        ]
        sparse = torch.stack(solved)
    if config.swaps and gram is not None:
        swapped = [
            swap_weights(*each, config.swaps, moved=config.score == "sparsegpt", pattern=pattern)
            for each in zip(weight, sparse, gram.products, strict=True)
        ]
        sparse = torch.stack(swapped)
    return sparse


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was done to a layer.

    Attributes:
        density_asked: share of its weights that was to be kept, 0 to 1.
        output_error: see `overwinter.sparsity.LayerReport`.
    """

    density_asked: float
    output_error: float | None


class Observing:
    """The part of a walk's work that all share: the Gram matrices of a block's layers, until these are taken.

    Args:
        model: that is walked through.
        exactly: whether they must be exact off their diagonals.
    """

    def __init__(self, model: nn.Module, *, exactly: bool) -> None:
        self._model, self._exactly = model, exactly
        self._grams: dict[str, Gram] = {}

    def observe(self, inputs: Calls, dense: Calls) -> None:  # noqa: ARG002 - as every walk's work is given
        """Take in what layers are given by one batch."""
        layers = {name: self._model.get_submodule(name) for name in inputs}
        for names, calls in sharing(layers, inputs):
            gram = self._grams.get(names[0])
            for given in calls:
                columns = as_groups(layers[names[0]], given)  # (groups, rows, columns)
                gram = gram or Gram.like(columns)
                gram.add(columns, exactly=self._exactly)
            if gram is not None:
                self._grams.update(dict.fromkeys(names, gram))

    def taken(self, layers: Sequence[str]) -> dict[str, Gram]:
        """Return the Gram matrices of layers that calibration reached, and forget them."""
        return {name: self._grams.pop(name) for name in layers if name in self._grams}


class Pruning(Observing):
    """A walk's work: each block's layers are pruned by their inputs from the pruned blocks before.

    Args:
        model: as in `Observing`.
        amounts: layer -> share to remove, 0 to below 1.
        config: how.

    Attributes:
        done: layer -> what was done to it; layers that calibration did not reach are missing.
    """

    def __init__(self, model: nn.Module, amounts: Mapping[str, float], config: OneShotConfig) -> None:
        super().__init__(model, exactly=config.score == "sparsegpt" or config.swaps > 0)
        self._amounts, self._config = amounts, config
        self.done: dict[str, Pruned] = {}

    def change(self, layers: Sequence[str]) -> None:
        """Prune layers in place."""
        for name, gram in self.taken(layers).items():
            self.prune(name, gram)

    def prune(self, name: str, gram: Gram | None) -> None:
        """Prune one layer in place."""
        layer, amount = self._model.get_submodule(name), self._amounts[name]
        weight = matrix_of(layer)
        sparse = pruned(weight, gram, amount, self._config)
        set_matrix(layer, sparse)
        error = None if gram is None else output_error(weight, sparse, gram)
        self.done[name] = Pruned(density_asked=1.0 - amount, output_error=error)
