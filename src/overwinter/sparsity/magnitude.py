"""Gradual magnitude pruning: the smallest weights go, more and more of them, while the model is fine-tuned.

Zhu and Gupta, "To prune, or not to prune" (2017): the sparsity follows ``amount * (1 - (1 - t)^3)``, so
most of it comes early, while the network can still recover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from overwinter.data import Split
from overwinter.errors import OverwinterError
from overwinter.models import computed_weights, other_weights, prunable_weights
from overwinter.sparsity.masks import HeldMasks
from overwinter.sparsity.patterns import smallest
from overwinter.sparsity.report import LayerReport, SparsityReport
from overwinter.sparsity.selection import SKIPPED, skipped
from overwinter.sparsity.settings import MagnitudeConfig


class Magnitude:
    """The sparsifier ``magnitude``."""

    def __init__(self, config: MagnitudeConfig) -> None:
        self._config = config

    def prepare(self, model: nn.Module, train: Split) -> Sequence[MaskHook]:  # noqa: ARG002 - needs no data
        """Return the hook that zeroes weights while ``model`` is fine-tuned."""
        config, chosen = self._config, self._chosen(model)
        if not chosen:
            return []
        hook = MaskHook(
            chosen,
            amount=config.amount,
            scope=config.scope,
            ramp_fraction=config.ramp_fraction,
            update_interval_steps=config.update_interval_steps,
        )
        hook.refuse_emptied()
        return [hook]

    def report(self, model: nn.Module) -> SparsityReport:
        """Count the zeros of each layer."""
        layers = tuple(
            LayerReport(name=name, before=weight.numel(), after=int(torch.count_nonzero(weight)))
            for name, weight in self._chosen(model).items()
        )
        chosen = {layer.name for layer in layers}
        left_alone = (
            dict.fromkeys(set(prunable_weights(model)) - chosen, SKIPPED)
            | computed_weights(model)
            | other_weights(model)
        )
        return SparsityReport(
            method="magnitude",
            unit="weights",
            asked=self._config.amount,
            layers=layers,
            left_alone=dict(sorted(left_alone.items())),
        )

    def _chosen(self, model: nn.Module) -> dict[str, torch.Tensor]:
        weights = prunable_weights(model)
        left_out = {*skipped(weights, self._config.skip), *computed_weights(model)}
        return {name: weight for name, weight in weights.items() if name not in left_out}


class MaskHook(HeldMasks):
    """Raises the sparsity along the cubic schedule and keeps what was removed at zero.

    Args:
        weights: layer name -> weight, changed in place.
        amount: final share of zeros, 0 to below 1.
        scope: ``global`` ranks all weights together, ``layer`` each layer by itself.
        ramp_fraction: share of all steps in which the sparsity rises, above 0, at most 1.
        update_interval_steps: steps between two updates of the masks.
    """

    def __init__(
        self,
        weights: Mapping[str, torch.Tensor],
        *,
        amount: float,
        scope: str,
        ramp_fraction: float,
        update_interval_steps: int,
    ) -> None:
        super().__init__(weights, {})
        self._amount = amount
        self._scope = scope
        self._ramp_fraction = ramp_fraction
        self._interval = update_interval_steps

    def refuse_emptied(self) -> None:
        """Refuse, before the fine-tuning, an amount that takes all of a layer's weights as they are now.

        Raises:
            OverwinterError: with the layer and what would spare it.
        """
        for name, removed in self._masks(self._amount).items():
            if removed.all():
                raise OverwinterError(
                    f"Every weight of {name} would be removed at a sparsity of {self._amount:.3f}.\n"
                    "Lower sparsify.amount, set sparsify.scope=layer, or name the layer in sparsify.skip."
                )

    def after_step(self, step: int, total: int) -> None:
        """Put what was removed back to zero, and remove more if it is time to."""
        self.apply()
        ramp = self._ramp_steps(total)
        if step == ramp or (step < ramp and step % self._interval == 0):
            self._remove(self.sparsity_at(step, total))
            self.apply()

    def settled(self, step: int, total: int) -> bool:
        """Whether the sparsity has reached its final value."""
        return step >= self._ramp_steps(total)

    def sparsity_at(self, step: int, total: int) -> float:
        """Return the share of zeros that the schedule asks for after a step."""
        progress = min(1.0, step / self._ramp_steps(total))
        return self._amount * (1.0 - (1.0 - progress) ** 3)

    def _ramp_steps(self, total: int) -> int:
        return max(1, round(total * self._ramp_fraction))

    def _remove(self, sparsity: float) -> None:
        for name, removed in self._masks(sparsity).items():
            if removed.all():  # as weights move while they are trained: one stays, so that the layer is not cut off
                removed.view(-1)[self._weights[name].abs().argmax()] = False
            self._removed[name] = removed

    def _masks(self, sparsity: float) -> dict[str, torch.Tensor]:
        magnitudes = {name: weight.detach().abs() for name, weight in self._weights.items()}
        together = [list(magnitudes)] if self._scope == "global" else [[name] for name in magnitudes]
        masks: dict[str, torch.Tensor] = {}
        for names in together:
            masks.update(zip(names, smallest([magnitudes[name] for name in names], sparsity), strict=True))
        return masks
