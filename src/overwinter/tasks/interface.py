"""What a model is for: the contract of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure of quality.

    Attributes:
        name: its key in metrics.json.
        higher_is_better: otherwise less is better.
        unit: such as `nats`; empty for a share and for what has none.
    """

    name: str
    higher_is_better: bool = True
    unit: str = ""


class Task(Protocol):
    """What targets look like, what a fit minimises, and how good outputs are.

    Outputs and targets are batches: tensors while training, arrays when measured. numpy only, but for `loss`, so that
    a server's worker can turn outputs into responses without torch.

    Attributes:
        headline: the measure that tables show and that budgets and limits use.
        measures: all that `measure` returns, by name.
    """

    headline: Measure

    @property
    def measures(self) -> Mapping[str, Measure]: ...  # noqa: D102 - described above

    def check_targets(self, targets: Array) -> None:
        """Refuse targets that this task cannot be about.

        Args:
            targets: of some samples (n, ...).

        Raises:
            ConfigError: with the value, and the task that would fit.
        """

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse outputs that do not belong to such targets.

        Args:
            outputs: of a model for these samples (n, ...).
            targets: (n, ...).

        Raises:
            ConfigError: with both shapes, and what the model must return.
        """

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, a scalar.

        Args:
            outputs: (n, ...), floating point.
            targets: (n, ...).
        """

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return name -> figure of quality over all samples; the headline is among them.

        Args:
            outputs: (n, ...).
            targets: (n, ...).
        """

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return how far each output is from the dense model's (n,): 0 where they are the same.

        Args:
            outputs: of the compressed model (n, ...).
            reference: of the dense model, for the same samples (n, ...).
        """

    def respond(self, output: Array) -> dict[str, Any]:
        """Return what a person reads of the output of one sample, as JSON.

        Args:
            output: without the batch axis.
        """


class MakesTask(Protocol):
    """How a task is registered: a class or function called with the names of its classes or outputs."""

    def __call__(self, labels: Sequence[str]) -> Task:
        """Return the task.

        Args:
            labels: what each class or output is called; may be empty.
        """
