"""Muon for the matrices of a model and AdamW for the rest, as one optimizer.

Muon steps along the orthogonal matrix that is nearest to the momentum, so that every direction of a matrix learns at
the same rate: https://kellerjordan.github.io/posts/muon/ (Jordan et al., 2024). A convolution's kernel is a matrix of
its output channels and of all that each reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from overwinter.errors import ConfigError

_MOMENTUM = "momentum_buffer"  # torch.optim.Muon's name for it


class MuonAndAdamW(torch.optim.AdamW):
    """AdamW whose first group is stepped by `torch.optim.Muon`.

    Args:
        matrices: weights of two or more dimensions, dense in memory.
        rest: groups of the other parameters.
        matrix_learning_rate: Muon's, before its adjustment to a matrix's shape, sqrt(max(1, rows / columns)).
        learning_rate: AdamW's.
        weight_decay: decoupled, of the matrices.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        rest: Sequence[dict[str, object]],
        *,
        matrix_learning_rate: float,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        first = {"params": list(matrices), "lr": matrix_learning_rate, "weight_decay": weight_decay}
        super().__init__([first, *rest], lr=learning_rate)
        self._matrices = tuple(matrices)
        self._views = tuple(nn.Parameter(_as_matrix(weight.detach(), weight)) for weight in matrices)
        self._muon = torch.optim.Muon(self._views, lr=matrix_learning_rate, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # the training loop has no closure
        """Step all parameters that have a gradient."""
        gradients = [weight.grad for weight in self._matrices]
        for weight, view in zip(self._matrices, self._views, strict=True):
            view.data = _as_matrix(weight.detach(), weight)  # the model may lie elsewhere by now
            view.grad = None if weight.grad is None else _as_matrix(weight.grad, weight)
            if weight.grad is not None:
                # Handed over anew: a checkpoint may have replaced it, and a removal of channels have cut it.
                self._muon.state[view] = {_MOMENTUM: _as_matrix(self._momentum(weight), weight)}
            weight.grad = None  # so that AdamW passes it over
        super().step(closure)
        self._muon.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self._muon.step()  # type: ignore[no-untyped-call]
        for weight, gradient in zip(self._matrices, gradients, strict=True):
            weight.grad = gradient
            if gradient is not None:
                self.state[weight]["step"] += 1

    def _momentum(self, weight: nn.Parameter) -> torch.Tensor:
        """Return the momentum of a weight, of its shape and lying in memory as it does, so that a matrix is a view."""
        state: dict[str, torch.Tensor] = self.state[weight]
        if not state:
            # AdamW looks for `step` in every state that it loads.
            state |= {_MOMENTUM: torch.zeros_like(weight), "step": torch.zeros(())}
        if state[_MOMENTUM].stride() != weight.stride():
            state[_MOMENTUM] = torch.empty_like(weight).copy_(state[_MOMENTUM])
        return state[_MOMENTUM]


def matrices_of(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights that Muon can train: those of two or more dimensions but embeddings and the last layer's.

    Raises:
        ConfigError: there is none.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    trained = [each for each in model.parameters() if each.requires_grad and each.dim() > 1]
    found = [each for each in trained[:-1] if id(each) not in embeddings]
    if not found:
        raise ConfigError(
            f"muon_learning_rate is set, and {type(model).__name__} has no matrix to train before its last layer. "
            "Set it to null: AdamW trains all."
        )
    return found


def _as_matrix(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return a weight or its gradient as (out, all else), in the order in which the weight lies in memory."""
    strides = weight.stride()
    order = sorted(range(1, weight.dim()), key=lambda axis: -strides[axis])
    return tensor.permute(0, *order).flatten(1)
