"""The words of metrics.json and comparison.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overwinter.evaluation.choosing import Choice, Option
from overwinter.evaluation.figures import Figures
from overwinter.evaluation.quality import Quality


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A form on a runtime, measured.

    Attributes:
        form: ``dense``, ``sparse``, ...
        runtime: which runs it.
        simplicity: 0 for dense, more for each transformation.
        quality: on the test split, of the very session that was timed.
        size_bytes: of the files that the runtime loads.
        load_s: time to load in a fresh process; None where that was not asked for.
        peak_memory_bytes: of that process.
        peak_gpu_memory_bytes: of its tensors on the GPU that answers; None without one, and where it is unknown.
        figures: batch size -> figures.
    """

    form: str
    runtime: str
    simplicity: int
    quality: Quality
    size_bytes: int
    load_s: float | None
    peak_memory_bytes: int | None
    figures: Mapping[int, Figures]
    peak_gpu_memory_bytes: int | None = None

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
            quality=self.quality.accuracy,
            energy_j=figures.energy_per_answer_j,
            energy_ci_j=figures.energy_per_answer_ci_j,
            broken_limits=self.quality.broken_limits,
        )

    def to_json(self, batch_size: int) -> dict[str, Any]:
        """Return quality, size, what loading takes, and the figures at ``batch_size``; throughput at all of them."""
        return {
            **self.quality.to_json(),
            "size_bytes": self.size_bytes,
            "load_s": self.load_s,
            "peak_memory_bytes": self.peak_memory_bytes,
            **({} if self.peak_gpu_memory_bytes is None else {"peak_gpu_memory_bytes": self.peak_gpu_memory_bytes}),
            **self.figures[batch_size].to_json(),
            "answers_per_s_at_batch": {str(size): each.answers_per_s for size, each in self.figures.items()},
        }


def report(candidates: Sequence[Candidate], choice: Choice, batch_size: int) -> dict[str, Any]:
    """Return metrics.json: dense at its best, what was chosen, whether it pays, and every candidate.

    Args:
        candidates: all that took part.
        choice: among them.
        batch_size: at which was chosen.
    """
    entries = {candidate.name: candidate.to_json(batch_size) for candidate in candidates}
    return told(entries, choice) | {"batch_size": batch_size}


def told(entries: Mapping[str, Mapping[str, Any]], choice: Choice) -> dict[str, Any]:
    """Return what metrics.json tells of a choice, of whatever kind the candidates are.

    Args:
        entries: what is known of each candidate, with its `size_bytes`.
        choice: among them.
    """
    dense, chosen = entries[choice.dense.name], entries[choice.chosen.name]
    return {
        "dense": {"name": choice.dense.name} | dict(dense),
        "chosen": {"name": choice.chosen.name} | dict(chosen),
        "pays": choice.pays,
        "saving": choice.saving,
        "size_ratio": dense["size_bytes"] / chosen["size_bytes"],
        "candidates": dict(entries),
    }


def comparison(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return comparison.json: every candidate at every batch size."""
    return {
        candidate.name: {str(size): candidate.to_json(size) for size in candidate.figures} for candidate in candidates
    }
