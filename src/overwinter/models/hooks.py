"""Interface of objects that change a model during training: a mask, a fake-quantizer, a growing sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch


class StepHook(Protocol):
    """Hook called around every optimizer step. Steps count from 1 to ``total``.

    A hook keeps everything between steps in its state, so that training resumes from a checkpoint as if it had not
    stopped; random numbers come from torch's global generator, which is seeded per step.
    """

    def before_step(self, step: int, total: int) -> None:
        """Act after gradients are computed and clipped, before the optimizer steps."""

    def after_step(self, step: int, total: int) -> None:
        """Act after the optimizer stepped."""

    def settled(self, step: int, total: int) -> bool:
        """Return whether the weights after ``step`` may be the result: not while a sparsity still grows."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the state to save in a checkpoint."""

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the state."""


@runtime_checkable
class ShrinkingHook(StepHook, Protocol):
    """A hook that makes tensors of the model smaller; parameters stay the objects that they were."""

    def use_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimizer whose state has to be made smaller with the parameters."""
