"""What a fit minimises."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from overwinter.tasks import IGNORED, Task
from overwinter.training.features import FeatureDistance


class Loss(Protocol):
    """A scalar to minimise."""

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, inputs: Any) -> torch.Tensor:
        """Return the mean loss of a batch.

        Args:
            outputs: of the model (batch, ...).
            targets: as the task reads them (batch, ...).
            inputs: (batch, ...), one tensor or several by name, for losses that ask another model too.
        """


class TaskLoss:
    """The loss of a task."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, inputs: Any) -> torch.Tensor:  # noqa: ARG002 - a Loss is given the inputs
        """Return the mean loss."""
        return self._task.loss(outputs, targets)


class DistillationLoss:
    """A task's loss mixed with following a teacher's softened outputs (Hinton, Vinyals and Dean, 2015).

    A teacher of numbers, which have no softness, is followed by the task's own loss.

    Args:
        task: has the loss and the divergence from the teacher.
        teacher: the dense model; put into evaluation mode, and never changed.
        weight: share of the teacher, 0 to 1.
        temperature: both models' logits are divided by it.
        features: how far inner values are from the teacher's; None: they may be anything.
        feature_weight: what that is multiplied by before it is added.
    """

    def __init__(
        self,
        task: Task,
        teacher: nn.Module,
        *,
        weight: float,
        temperature: float,
        features: FeatureDistance | None = None,
        feature_weight: float = 1.0,
    ) -> None:
        self._task = task
        self._teacher = teacher.eval().requires_grad_(requires_grad=False)
        self._weight = weight
        self._temperature = temperature
        self._features, self._feature_weight = features, feature_weight

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, inputs: Any) -> torch.Tensor:
        """Return the mean mixed loss."""
        hard = self._task.loss(outputs, targets)
        if not self._weight and self._features is None:
            return hard
        with torch.no_grad():
            taught = self._teacher.to(outputs.device)(inputs).float()  # (batch, ...)
        mixed = (1.0 - self._weight) * hard + self._weight * self._soft(outputs, taught)
        return mixed if self._features is None else mixed + self._feature_weight * self._features()

    def _soft(self, outputs: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        if self._task.divergence_unit != "nats":
            return self._task.loss(outputs, taught)
        # Gradients of the soft part shrink with the square of the temperature; this keeps the mix as asked.
        return self._temperature**2 * self._task.divergence(outputs, taught, self._temperature).mean()


def counted(targets: torch.Tensor) -> int:
    """Return over how many targets the mean loss of a batch is: positions marked as ignored don't count."""
    ignoring = not (targets.is_floating_point() or targets.is_complex())
    return int((targets != IGNORED).sum()) if ignoring else targets.numel()
