"""A vector for each sample, whose direction counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import BuiltInTask
from overwinter.tasks.interface import Array, Rows, Values
from overwinter.tasks.measure import Measure, by_name
from overwinter.tasks.targets import read_numbers

if TYPE_CHECKING:
    import torch

_TINY = np.finfo(np.float64).tiny


class Embeddings(BuiltInTask):
    """Embeddings: outputs and targets are vectors (n, dimensions), compared by the cosine of their angle.

    Targets are the vectors of a teacher, or of the model itself as it came. The model pools tokens itself.
    """

    name = "embeddings"
    headline = Measure(name="cosine_similarity")
    divergence_unit = "of the cosine"

    @property
    def measures(self) -> dict[str, Measure]:
        """The mean cosine of outputs and targets, and the worst one."""
        return by_name([self.headline, Measure(name="worst_cosine_similarity")])

    def read_targets(self, targets: Array) -> Array:
        """Return vectors (n, dimensions), float32.

        Raises:
            ConfigError: with the shape or value, and the task that would fit.
        """
        if targets.ndim != 2 or targets.shape[1] < 2:
            raise ConfigError(
                f"A target has the shape {list(targets.shape[1:])}: embeddings takes a vector. task=regression?"
            )
        return read_numbers(targets)

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse vectors with other dimensions than the targets.

        Raises:
            ConfigError: with both shapes.
        """
        if outputs.shape != targets.shape:
            per_token = " Let the model pool its tokens." if outputs.ndim > targets.ndim else ""
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: embeddings takes one "
                f"vector per sample.{per_token}"
            )

    def _own_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.divergence(outputs, targets).mean()

    def divergence(
        self,
        outputs: torch.Tensor,
        reference: torch.Tensor,
        temperature: float = 1.0,  # noqa: ARG002 - of logits only
    ) -> torch.Tensor:
        """Return 1 - the cosine of the angle to the dense model's vector (n,)."""
        from torch.nn import functional

        found, expected = (functional.normalize(each.float(), dim=-1) for each in (outputs, reference))
        return 0.5 * (found - expected).square().sum(dim=-1)  # exactly 0 for equal vectors

    def agreement(self, outputs: Array, reference: Array) -> Values:
        """Return the cosine of the angle to the dense model's vector, at least 0 (n,)."""
        return np.asarray(_cosine(outputs, reference).clip(0.0, 1.0))

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return `cosine` (n,)."""
        return {"cosine": _cosine(outputs, targets)}

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return the mean cosine and the worst one."""
        cosine = rows["cosine"]
        return {"cosine_similarity": float(cosine.mean()), "worst_cosine_similarity": float(cosine.min())}

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the vector."""
        return {"embedding": [float(value) for value in np.ravel(output)]}


def _cosine(outputs: Array, reference: Array) -> Values:
    found, expected = _direction(outputs), _direction(reference)
    return np.asarray(1.0 - 0.5 * ((found - expected) ** 2).sum(axis=-1))  # exactly 1 for equal vectors


def _direction(vectors: Array) -> Values:
    values = vectors.astype(np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), _TINY))
