"""What a fit minimises."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional


class Loss(Protocol):
    """A scalar to minimise."""

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: (batch, classes), the model's outputs.
            labels: (batch,).
            inputs: (batch, ...), for losses that ask another model too.
        """


class CrossEntropy:
    """Cross entropy with label smoothing."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._label_smoothing = label_smoothing

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - a Loss is given the inputs
        """Return the mean cross entropy."""
        return functional.cross_entropy(logits.float(), labels, label_smoothing=self._label_smoothing)


class DistillationLoss:
    """Cross entropy mixed with following a teacher's softened outputs (Hinton, Vinyals and Dean, 2015).

    Args:
        teacher: the dense model; put into evaluation mode, and never changed.
        weight: share of the teacher, 0 to 1.
        temperature: both models' logits are divided by it.
        label_smoothing: of the cross entropy.
    """

    def __init__(self, teacher: nn.Module, *, weight: float, temperature: float, label_smoothing: float = 0.0) -> None:
        self._teacher = teacher.eval().requires_grad_(requires_grad=False)
        self._weight = weight
        self._temperature = temperature
        self._hard = CrossEntropy(label_smoothing)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Return the mean mixed loss."""
        hard = self._hard(logits, labels, inputs)
        if not self._weight:
            return hard
        with torch.no_grad():
            taught = self._teacher.to(inputs.device)(inputs).float()  # (batch, classes)
        soft = functional.kl_div(
            functional.log_softmax(logits.float() / self._temperature, dim=-1),
            functional.log_softmax(taught / self._temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        # Gradients of the soft part shrink with the square of the temperature; this keeps the mix as asked.
        return (1.0 - self._weight) * hard + self._weight * self._temperature**2 * soft
