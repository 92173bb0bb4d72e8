"""How something acts on a model while it is being fitted: a mask, a fake-quantizer, a growing sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch


class StepHook(Protocol):
    """Called around every optimizer step. Steps count from 1 to ``total``.

    Everything that a hook remembers from step to step is in its state, so that a fit goes on from a
    checkpoint as if it had never stopped; what it draws at random comes from torch's global
    generator, which is seeded per step.
    """

    def before_step(self, step: int, total: int) -> None:
        """Gradients are computed and clipped, the optimizer has not stepped yet."""

    def after_step(self, step: int, total: int) -> None:
        """The optimizer has stepped."""

    def settled(self, step: int, total: int) -> bool:
        """Whether the weights after ``step`` may be the result: not while a sparsity still grows."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what must survive an interruption."""

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up the state again."""
