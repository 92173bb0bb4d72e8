"""How much is removed of each layer: by its shape, by its error on calibration, or by one ranking of all weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from overwinter.calibration.hessian import inverse_factor, with_damping
from overwinter.calibration.statistics import Gram
from overwinter.calibration.walk import Gait, walk_blocks
from overwinter.errors import OverwinterError
from overwinter.inputs import TensorInputs
from overwinter.progress import Progress
from overwinter.sparsity.matrices import matrix_of
from overwinter.sparsity.patterns import removed
from overwinter.sparsity.pruning import Observing
from overwinter.sparsity.ratios import layer_densities
from overwinter.sparsity.scores import SCORES, output_error, squared_errors
from overwinter.sparsity.settings import OneShotConfig

_BINS, _LARGEST = 1 << 14, 64.0  # of the ranking: of the scores' logarithm to base 2
_SPAN, _STEPS = 0.2, 8  # of a layer's amount around the model's, and in how many steps
_MOST = 0.98  # of a layer, by sensitivity


def find_amounts(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    batches: Sequence[TensorInputs],
    config: OneShotConfig,
    *,
    device: str,
    progress: Progress,
) -> dict[str, float]:
    """Return layer -> share to remove; weighted by the layers' sizes, their mean is the amount asked.

    Args:
        model: dense, on the CPU, in evaluation mode, without gradients.
        layers: name -> layer.
        batches: of model inputs; may be empty where neither the score nor the ratios need calibration.
        config: how.
        device: that computes.
        progress: called while the dense model is measured, if it must be.

    Raises:
        OverwinterError: a layer would lose all of its weights.
    """
    sizes = {name: layer.get_parameter("weight").numel() for name, layer in layers.items()}
    if config.scope != "global" and config.ratios != "sensitivity":
        shapes = {name: layer.get_parameter("weight").shape for name, layer in layers.items()}
        densities = layer_densities(shapes, density=1.0 - config.amount, ratios=config.ratios)
        return {name: 1.0 - density for name, density in densities.items()}
    work = _Ranking(model, config) if config.scope == "global" else _Sensitivity(model, config)
    if batches:
        gait = Gait(follows=False, compares=False, quickly=True)
        walk_blocks(model, list(layers), batches, work, gait, device=device, progress=progress)
    else:
        for name in layers:
            work.measure(name, None)
    return work.amounts({name: size for name, size in sizes.items() if name in work.measured})


class _Measuring(Observing):
    """A walk's work that changes nothing: each layer's figures (n,)."""

    def __init__(self, model: nn.Module, config: OneShotConfig, *, exactly: bool) -> None:
        super().__init__(model, exactly=exactly)
        self._config = config
        self.measured: dict[str, torch.Tensor] = {}

    def change(self, layers: Sequence[str]) -> None:
        """Measure layers."""
        for name, gram in self.taken(layers).items():
            self.measure(name, gram)

    def measure(self, name: str, gram: Gram | None) -> None:
        """Measure one layer."""
        weight = matrix_of(self._model.get_submodule(name))
        self.measured[name] = self._figures(weight, gram).cpu()

    def _figures(self, weight: torch.Tensor, gram: Gram | None) -> torch.Tensor:
        raise NotImplementedError

    def amounts(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Return layer -> share to remove."""
        raise NotImplementedError


class _Ranking(_Measuring):
    """One ranking of all weights, as histograms of their scores: those are small, whatever the model's size."""

    def __init__(self, model: nn.Module, config: OneShotConfig) -> None:
        super().__init__(model, config, exactly=config.score == "sparsegpt")

    def _figures(self, weight: torch.Tensor, gram: Gram | None) -> torch.Tensor:
        """Return how many scores are in each bin (bins,)."""
        scores = _scores(weight, gram, self._config).clamp(min=2.0**-_LARGEST).log2().clamp(max=_LARGEST)
        return scores.cpu().histc(_BINS, min=-_LARGEST, max=_LARGEST)

    def amounts(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Return what each layer has below the score that parts all weights as asked."""
        below = torch.stack([self.measured[name].double() for name in sizes]).cumsum(1)  # (layers, bins)
        wanted = self._config.amount * below[:, -1].sum()
        last = int((below.sum(0) < wanted).sum())  # the bin in which it lies
        before = below[:, last - 1] if last else torch.zeros(len(below), dtype=below.dtype)
        within = below[:, last] - before
        share = float((wanted - before.sum()) / within.sum().clamp(min=1.0))
        gone = before + share * within  # (layers,)
        amounts = dict(zip(sizes, (gone / below[:, -1]).tolist(), strict=True))
        for name, amount in amounts.items():
            if round(amount * sizes[name]) >= sizes[name]:
                raise OverwinterError(
                    f"Every weight of {name} would be removed at a sparsity of {self._config.amount:.3f}.\n"
                    "Lower sparsify.amount, set sparsify.scope=layer, or name the layer in sparsify.skip."
                )
        return amounts


def _scores(weight: torch.Tensor, gram: Gram | None, config: OneShotConfig) -> torch.Tensor:
    """Return the scores (groups, rows, columns); those from calibration are relative to the norm of the output."""
    if gram is None or config.score == "magnitude":
        return SCORES[config.score](weight, gram)
    if config.score == "sparsegpt":
        scores = weight.abs() / _inverse_diagonals(gram, config.sparsegpt.dampening)[:, None].sqrt()
    else:
        scores = SCORES[config.score](weight, gram)
    return scores / squared_errors(weight, gram.products).sum().sqrt().clamp(min=torch.finfo(scores.dtype).tiny)


def _inverse_diagonals(gram: Gram, dampening: float) -> torch.Tensor:
    """Return the diagonals of the inverse Gram matrices (groups, columns)."""
    factors = [inverse_factor(with_damping(products, dampening)) for products in gram.products]
    return torch.stack([factor.square().sum(0) for factor in factors])


class _Sensitivity(_Measuring):
    """Each layer's squared error, relative to its output, at amounts around the model's."""

    def __init__(self, model: nn.Module, config: OneShotConfig) -> None:
        super().__init__(model, config, exactly=False)
        low, high = max(0.0, config.amount - _SPAN), min(_MOST, config.amount + _SPAN)
        self._steps = torch.linspace(low, max(low, high), _STEPS + 1).tolist()

    def _figures(self, weight: torch.Tensor, gram: Gram | None) -> torch.Tensor:
        """Return the error at each amount (steps + 1,)."""
        assert gram is not None  # noqa: S101 -- the settings ask for calibration
        scores = SCORES["magnitude" if self._config.score == "magnitude" else "wanda"](weight, gram)
        scope = "row" if self._config.scope == "row" else "layer"
        sparse = (weight.masked_fill(removed(scores, amount, scope=scope), 0.0) for amount in self._steps)
        return torch.tensor([output_error(weight, each, gram) ** 2 for each in sparse])

    def amounts(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Return the amounts of least summed error: the cheapest weights next, until enough are removed."""
        width = self._steps[1] - self._steps[0]
        steps = sorted(
            (float(rise) / sizes[name], step, name)
            for name in sizes
            for step, rise in enumerate(self.measured[name].diff().cummax(0).values)
        )
        amounts = dict.fromkeys(sizes, self._steps[0])
        left = (self._config.amount - self._steps[0]) * sum(sizes.values())
        for _, _, name in steps:
            part = min(width, left / sizes[name])
            amounts[name] += part
            left -= part * sizes[name]
        return amounts
