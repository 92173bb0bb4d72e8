"""Sparse from the first step on: RigL (Evci et al., "Rigging the Lottery", 2020, arXiv 1911.11134).

Random masks at the densities of `overwinter.sparsity.ratios`. At every update a layer drops the kept weights of the
least magnitude and grows as many where the gradient is largest, so that its density stays. The exchanged share falls
along a cosine, ``update_fraction / 2 * (1 + cos(pi t / T))``, and is 0 from ``stop_fraction`` of all steps on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from overwinter.config.groups import TrainConfig
from overwinter.errors import ConfigError
from overwinter.inputs import take
from overwinter.models import computed_weights, other_weights, prunable_weights
from overwinter.sparsity.ratios import kept_weights
from overwinter.sparsity.selection import skipped
from overwinter.sparsity.settings import RiglConfig

_KEY = "train.sparse"
_OF_FORWARD = 3  # a step takes the forward pass, the gradients of the inputs and those of the weights


@dataclass(frozen=True, kw_only=True)
class TrainingFlops:
    """Floating-point operations of a training, of the layers' products; validation is not counted.

    Attributes:
        sparse: with kernels that skip zeros. Torch has none for single zeros and computes the dense ones.
        dense: of the same steps with every weight.
    """

    sparse: int
    dense: int


class SparseTraining:
    """What trains a model sparse from the start, or nothing.

    Attributes:
        hooks: what `fit` has to call.
        left_alone: layer with weights -> why all of its weights are kept.
    """

    def __init__(self, hook: RiglHook | None = None, left_alone: Mapping[str, str] | None = None) -> None:
        self._hook = hook
        self.hooks: Sequence[RiglHook] = [] if hook is None else [hook]
        self.left_alone: Mapping[str, str] = left_alone or {}

    def count_flops(self, model: nn.Module, inputs: object, *, steps: int, batch_size: int) -> TrainingFlops | None:
        """Return what the training took; None if it was not sparse.

        Args:
            model: in evaluation mode, on the device of ``inputs``.
            inputs: one or more samples (batch, ...), as the model takes them; the first is computed.
            steps: optimizer steps of the training.
            batch_size: samples of a step.
        """
        if self._hook is None:
            return None
        layers = _forward_flops(model, inputs)
        dense = layers.pop("")
        saved = sum(layers.get(name, 0) * (1.0 - density) for name, density in self._hook.densities().items())
        # An update needs the gradient of every weight, so that one of its three products is dense.
        spared = saved * (_OF_FORWARD * steps - self._hook.updates_until(steps))
        return TrainingFlops(
            sparse=round(batch_size * (_OF_FORWARD * steps * dense - spared)),
            dense=batch_size * _OF_FORWARD * steps * dense,
        )


def start_sparse(model: nn.Module, train: TrainConfig, *, seed: int) -> SparseTraining:
    """Remove all but a random few of a fresh model's weights, in place, if ``train`` has settings ``sparse``.

    Raises:
        ConfigError: a pattern in ``sparse.skip`` fits no layer, or no layer is left to make sparse.
        OverwinterError: so little is kept that layers would be emptied.
    """
    settings: RiglConfig | None = train.sparse_from_start()
    if settings is None:
        return SparseTraining()
    weights = prunable_weights(model)
    named = dict.fromkeys(skipped(weights, settings.skip, key=f"{_KEY}.skip"), f"named in {_KEY}.skip")
    left = named | computed_weights(model) | other_weights(model)
    chosen = {name: weight for name, weight in weights.items() if name not in left and weight.requires_grad}
    if not chosen:
        raise ConfigError(f"{_KEY} finds no layer to make sparse: {left or 'none has a weight'}. Train without it.")
    shapes = {name: tuple(weight.shape) for name, weight in chosen.items()}
    kept = kept_weights(shapes, density=1.0 - settings.amount, ratios=settings.ratios)
    return SparseTraining(RiglHook(chosen, kept, settings, seed=seed), dict(sorted(left.items())))


class RiglHook:
    """Holds what is removed at zero, and exchanges weights of the least magnitude for those of the largest gradient.

    Args:
        weights: layer name -> weight, changed in place.
        kept: layer name -> number of weights that are not removed.
        settings: when and how much is exchanged.
        seed: of the first masks.
    """

    def __init__(
        self, weights: Mapping[str, torch.Tensor], kept: Mapping[str, int], settings: RiglConfig, *, seed: int
    ) -> None:
        self._weights, self._kept, self._settings = dict(weights), dict(kept), settings
        generator = torch.Generator().manual_seed(seed)
        self._masks = {name: _random_mask(weight, kept[name], generator) for name, weight in self._weights.items()}
        self._total = 0
        self._hold()

    def before_step(self, step: int, total: int) -> None:
        """Exchange weights if it is time to, and leave only the gradients of those that are kept."""
        self._total = total
        if self._is_update(step):
            for name, weight in self._weights.items():
                self._exchange(name, weight, self.fraction_at(step, total))
        for name, weight in self._weights.items():
            if weight.grad is not None:
                weight.grad.masked_fill_(~self._mask(name), 0.0)

    def after_step(self, step: int, total: int) -> None:  # noqa: ARG002 -- every step alike
        """Put what was removed back to zero, whatever an optimizer's momentum did."""
        self._hold()

    def settled(self, step: int, total: int) -> bool:
        """Whether the masks stand still."""
        return step >= self._last_update(total)

    def fraction_at(self, step: int, total: int) -> float:
        """Return the share of each layer's kept weights that a step exchanges."""
        progress = min(1.0, step / max(1.0, self._settings.stop_fraction * total))
        return self._settings.update_fraction * 0.5 * (1.0 + math.cos(math.pi * progress))

    def updates_until(self, step: int) -> int:
        """Return how many steps exchanged weights until ``step``."""
        return min(step, self._last_update(self._total)) // self._settings.update_interval_steps

    def densities(self) -> dict[str, float]:
        """Return layer name -> share of its weights that is kept."""
        return {name: self._kept[name] / weight.numel() for name, weight in self._weights.items()}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the masks, and the number of steps."""
        return {**self._masks, "total": torch.tensor(self._total)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up the masks again."""
        self._masks = {name: state[name] for name in self._weights}
        self._total = int(state["total"])

    def _last_update(self, total: int) -> int:
        """Return the last step that may exchange weights."""
        return math.floor(self._settings.stop_fraction * total)

    def _is_update(self, step: int) -> bool:
        return step % self._settings.update_interval_steps == 0 and step <= self._last_update(self._total)

    def _mask(self, name: str) -> torch.Tensor:
        self._masks[name] = self._masks[name].to(self._weights[name].device)
        return self._masks[name]

    @torch.no_grad()
    def _hold(self) -> None:
        for name, weight in self._weights.items():
            weight.masked_fill_(~self._mask(name), 0.0)

    @torch.no_grad()
    def _exchange(self, name: str, weight: torch.Tensor, fraction: float) -> None:
        """Drop and grow the same number of a layer's weights; what has grown starts at zero."""
        mask = self._mask(name)
        if weight.grad is None:
            return
        count = min(round(fraction * self._kept[name]), mask.numel() - self._kept[name])
        staying = mask & ~_marked(weight.abs().masked_fill(~mask, math.inf), count, largest=False)
        self._masks[name] = staying | _marked(weight.grad.abs().masked_fill(staying, -1.0), count, largest=True)
        weight.masked_fill_(~staying, 0.0)


def _random_mask(weight: torch.Tensor, kept: int, generator: torch.Generator) -> torch.Tensor:
    return _marked(torch.rand(weight.shape, generator=generator), kept, largest=True)


def _marked(scores: torch.Tensor, count: int, *, largest: bool) -> torch.Tensor:
    """Return a mask, in the shape of ``scores``, of the ``count`` largest or smallest."""
    flat = scores.flatten()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.topk(count, largest=largest, sorted=False).indices] = True
    return chosen.view(scores.shape)


def _forward_flops(model: nn.Module, inputs: object) -> dict[str, int]:
    """Return layer name -> operations of one sample's forward pass; those of the whole model under ''."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(take(inputs, slice(1)))
    root = type(model).__name__
    counted = {name: sum(operators.values()) for name, operators in counter.get_flop_counts().items()}
    layers = {name.removeprefix(f"{root}."): total for name, total in counted.items() if name.startswith(f"{root}.")}
    return layers | {"": counted["Global"]}
