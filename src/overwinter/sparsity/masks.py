"""Masks: which weights a sparse model has removed, and keeping them at zero while the others are trained.

A mask is read off the weights, so it does not matter what made the zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError


class HeldMasks:
    """Step hook that puts removed weights back to zero after every step.

    Args:
        weights: layer name -> weight, changed in place.
        removed: layer name -> mask, true where a weight is removed.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], removed: Mapping[str, torch.Tensor]) -> None:
        self._weights = dict(weights)
        self._removed = dict(removed)

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """The weights, by their layers' names."""
        return self._weights

    def under(self, prefix: str) -> HeldMasks:
        """Return the masks of the layers whose names begin with a prefix."""
        return HeldMasks(_under(prefix, self._weights), _under(prefix, self._removed))

    def before_step(self, step: int, total: int) -> None:
        """Do nothing: removed weights may have gradients, they are put back to zero after the step."""

    def after_step(self, step: int, total: int) -> None:  # noqa: ARG002 -- the same in every step
        """Put what was removed back to zero."""
        self.apply()

    def settled(self, step: int, total: int) -> bool:  # noqa: ARG002 -- as above
        """Whether the masks are final: always."""
        return True

    def apply(self) -> None:
        """Put what was removed back to zero."""
        with torch.no_grad():
            for name, removed in self._removed.items():
                weight = self._weights[name]
                self._removed[name] = removed.to(weight.device)  # the weights may have moved to the device that trains
                weight.masked_fill_(self._removed[name], 0.0)

    def refuse_broken(self) -> None:
        """Refuse weights of which a removed one is no longer zero.

        Raises:
            OverwinterError: with the layer in which most came back.
        """
        back = {
            name: int(torch.count_nonzero(self._weights[name].detach()[removed.to(self._weights[name].device)]))
            for name, removed in self._removed.items()
        }
        worst = max(back, key=lambda name: back[name], default=None)
        if worst is not None and back[worst]:
            raise OverwinterError(
                f"{sum(back.values())} removed weights are no longer zero, {back[worst]} of them in {worst}: training "
                "broke the masks.\nGive `overwinter.training.fit` the hook `overwinter.sparsity.hold_masks(model)`."
            )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the masks."""
        return dict(self._removed)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up the masks again."""
        self._removed = {name: mask.to(self._weights[name].device) for name, mask in state.items()}


def hold_masks(model: nn.Module, layers: Iterable[str]) -> HeldMasks:
    """Return the hook that holds the zeros which a model has now in its layers.

    Raises:
        ConfigError: no weight of these layers is zero.
    """
    weights = {name: model.get_submodule(name).get_parameter("weight") for name in layers}
    removed = {name: weight.detach() == 0 for name, weight in weights.items()}
    if not any(bool(mask.any()) for mask in removed.values()):
        raise ConfigError(
            f"None of the weights of {len(weights)} layers is zero, so there is no mask to hold. Sparsify the model "
            "first, or set sparsify.recovery.method=none."
        )
    return HeldMasks(weights, removed)


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
