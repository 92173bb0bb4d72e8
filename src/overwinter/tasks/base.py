"""What the built-in tasks share: labels, and a loss that may be the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.tasks.class_counts import class_counts
from overwinter.tasks.interface import Array, Criterion, Rows, Values
from overwinter.tasks.measure import Measure
from overwinter.tasks.numbers import closeness, mean_of_rest
from overwinter.tasks.targets import IGNORED

if TYPE_CHECKING:
    import torch


class BuiltInTask(ABC):
    """A task with a loss of its own, or the user's.

    Args:
        labels: what the classes or the numbers are called.
        criterion: instead of the task's own loss.
    """

    name: str
    headline: Measure
    class_axis: int | None = None
    divergence_unit = "nats"
    generates = False

    def __init__(self, labels: Sequence[str], *, criterion: Criterion | None = None) -> None:
        self.labels = tuple(labels)
        self._criterion = criterion

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar.

        Args:
            outputs: (n, ...); the loss is computed in float32.
            targets: read targets (n, ...).
        """
        arranged, wanted = self._for_loss(outputs.float(), targets)
        if self._criterion is None:
            return self._own_loss(arranged, wanted)
        return _on_the_device_of(arranged, self._criterion)(arranged, wanted)

    def _for_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both as the losses of torch.nn take them."""
        return outputs, targets

    @abstractmethod
    def _own_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor: ...


class ClassesTask(BuiltInTask):
    """A task whose outputs are logits of exclusive classes along `class_axis`, and whose loss is the cross entropy."""

    class_axis: int
    _label_smoothing = 0.0

    def _for_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return outputs.movedim(self.class_axis, 1), targets  # (n, classes, ...), (n, ...)

    def _own_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn import functional

        smoothing = self._label_smoothing if torch.is_grad_enabled() else 0.0  # smoothed labels are not what is wanted
        total = functional.cross_entropy(
            *_by_position(outputs, targets), ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        )
        return total / (targets != IGNORED).sum().clamp_min(1)  # no NaN where no position counts

    def divergence(self, outputs: torch.Tensor, reference: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return the Kullback-Leibler divergence in nats, the mean over positions (n,)."""
        from overwinter.tasks.divergences import kl_divergence

        return kl_divergence(outputs, reference, axis=self.class_axis, temperature=temperature)

    def agreement(self, outputs: Array, reference: Array) -> Values:
        """Return the share of each sample's positions whose most probable class is the dense model's (n,)."""
        return mean_of_rest(self._decisions(outputs) == self._decisions(reference))

    def _decisions(self, outputs: Array) -> Array:
        """Return the most probable class at each position (n, ...)."""
        return np.asarray(outputs.argmax(axis=self.class_axis))


class PositionsTask(ClassesTask):
    """A task that asks for the class of every token or pixel of a sample."""

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return each class's `hits`, `predicted` and `targets` (n, classes), over the positions that count."""
        return class_counts(self._decisions(outputs), targets, len(self.labels))


class NumbersTask(BuiltInTask):
    """A task whose outputs and targets are numbers of one unit.

    Args:
        labels: what the numbers are called.
        unit: of the numbers, such as `USD`; stands in responses and beside the errors.
        criterion: instead of the task's own loss.
    """

    divergence_unit = "of the spread"

    def __init__(self, labels: Sequence[str], *, unit: str = "", criterion: Criterion | None = None) -> None:
        super().__init__(labels, criterion=criterion)
        self._unit = unit

    def divergence(
        self,
        outputs: torch.Tensor,
        reference: torch.Tensor,
        temperature: float = 1.0,  # noqa: ARG002 - of logits only
    ) -> torch.Tensor:
        """Return the root mean square error against the dense model, over the spread of its outputs (n,)."""
        from overwinter.tasks.divergences import relative_error

        shape = self._by_series(outputs.shape)
        return relative_error(outputs.reshape(shape), reference.reshape(shape))

    def agreement(self, outputs: Array, reference: Array) -> Values:
        """Return 1 - the error against the dense model over the spread of its outputs, at least 0 (n,)."""
        shape = self._by_series(outputs.shape)
        return closeness(outputs.reshape(shape), reference.reshape(shape))

    @abstractmethod
    def _by_series(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape (n, ..., series) of outputs whose last axis holds what has a spread of its own."""

    def _with_unit(self, response: dict[str, Any]) -> dict[str, Any]:
        return response | ({"unit": self._unit} if self._unit else {})


def _by_position(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (n, classes, ...) as (positions, classes), with their targets, if they lie so in memory.

    torch then computes the cross entropy in a fifth of the time.
    """
    if outputs.stride(1) != 1:
        return outputs, targets
    return outputs.movedim(1, -1).flatten(0, -2), targets.flatten()


def _on_the_device_of(outputs: torch.Tensor, criterion: Criterion) -> Criterion:
    """Return a loss with its own tensors, such as weights of classes, on the outputs' device."""
    from torch import nn

    return criterion.to(outputs.device) if isinstance(criterion, nn.Module) else criterion
