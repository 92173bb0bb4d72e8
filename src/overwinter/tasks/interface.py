"""What a model is for: the contract of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from overwinter.tasks.measure import Measure

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Values = NDArray[np.float64]
Rows = dict[str, Array]


class Criterion(Protocol):
    """A loss, such as those of torch.nn: called with outputs and targets, it returns a scalar."""

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, /) -> torch.Tensor: ...  # noqa: D102 - as above


class Task(Protocol):
    """What targets look like, what a fit minimises, and how good outputs are.

    Methods that are given arrays need numpy only, so that a server's worker can turn outputs into responses without
    torch; `loss` and `divergence` are given tensors.

    Attributes:
        name: as in `task.name`.
        labels: what the classes or the numbers are called; may be empty.
        headline: the measure that tables show and that budgets and limits use.
        measures: all that `measure` returns, by name.
        class_axis: axis of the outputs along which the logits of exclusive classes lie; None where there are none.
        divergence_unit: of `divergence`: `nats`, or `of the spread`.
        generates: whether a response is a generated text.
    """

    name: str
    labels: tuple[str, ...]
    headline: Measure
    divergence_unit: str
    generates: bool

    @property
    def measures(self) -> Mapping[str, Measure]: ...  # noqa: D102 - described above

    @property
    def class_axis(self) -> int | None: ...  # noqa: D102 - described above

    def read_targets(self, targets: Array) -> Array:
        """Return targets (n, ...) in the task's type, such as whole floats (n, 1) as class numbers (n,).

        Raises:
            ConfigError: they cannot be this task's, with the value, and the task that would fit.
        """

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse outputs (n, ...) that do not belong to read targets (n, ...).

        Raises:
            ConfigError: with both shapes, and what the model must return.
        """

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch of outputs (n, ...) and read targets (n, ...), a scalar."""

    def divergence(self, outputs: torch.Tensor, reference: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return how far each output is from the dense model's (n,), in `divergence_unit`; 0: they are the same.

        Args:
            outputs: of the compressed model (n, ...); the result is differentiable in them.
            reference: of the dense model, for the same samples (n, ...).
            temperature: both models' logits are divided by it; numbers have none.
        """

    def agreement(self, outputs: Array, reference: Array) -> Values:
        """Return the share of each sample's decisions that are the dense model's (n,); of numbers, 1 - the error."""

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return what `measure` needs of each sample: name -> (n, ...).

        Rows of several batches are joined by `join_rows`, in any order. `correct` (n,) is there where the headline is
        the share of correct samples.
        """

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return name -> figure of quality over all rows; the headline is among them."""

    def respond(self, output: Array) -> dict[str, Any]:
        """Return what a person reads of the output of one sample, which has no batch axis, as JSON."""


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several batches as those of one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
