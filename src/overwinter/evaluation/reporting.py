"""The words of metrics.json and comparison.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overwinter.evaluation.choosing import Choice, Option
from overwinter.evaluation.figures import Figures


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A form on a runtime, measured.

    Attributes:
        form: ``dense``, ``sparse``, ...
        runtime: which runs it.
        simplicity: 0 for dense, more for each transformation.
        accuracy: on the test split, of the very session that was timed.
        size_bytes: of the files that the runtime loads.
        figures: batch size -> figures.
    """

    form: str
    runtime: str
    simplicity: int
    accuracy: float
    size_bytes: int
    figures: Mapping[int, Figures]

    @property
    def name(self) -> str:
        """``form@runtime``."""
        return f"{self.form}@{self.runtime}"

    def option(self, batch_size: int) -> Option:
        """Return what competes at a batch size."""
        figures = self.figures[batch_size]
        return Option(
            form=self.form,
            runtime=self.runtime,
            simplicity=self.simplicity,
            quality=self.accuracy,
            energy_j=figures.energy_per_answer_j,
            energy_ci_j=figures.energy_per_answer_ci_j,
        )

    def to_json(self, batch_size: int) -> dict[str, Any]:
        """Return accuracy, size, and the figures at ``batch_size``."""
        return {"accuracy": self.accuracy, "size_bytes": self.size_bytes, **self.figures[batch_size].to_json()}


def report(candidates: Sequence[Candidate], choice: Choice, batch_size: int) -> dict[str, Any]:
    """Return metrics.json: dense at its best, what was chosen, whether it pays, and every candidate.

    Args:
        candidates: all that took part.
        choice: among them.
        batch_size: at which was chosen.
    """
    entries = {candidate.name: candidate.to_json(batch_size) for candidate in candidates}
    dense, chosen = entries[choice.dense.name], entries[choice.chosen.name]
    return {
        "dense": {"name": choice.dense.name} | dense,
        "chosen": {"name": choice.chosen.name} | chosen,
        "pays": choice.pays,
        "saving": choice.saving,
        "size_ratio": dense["size_bytes"] / chosen["size_bytes"],
        "batch_size": batch_size,
        "candidates": entries,
    }


def comparison(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return comparison.json: every candidate at every batch size."""
    return {
        candidate.name: {str(size): candidate.to_json(size) for size in candidate.figures} for candidate in candidates
    }
