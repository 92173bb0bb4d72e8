"""Which candidate is served: the fewest joules within the quality asked for; among equals the simplest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.errors import OverwinterError
from overwinter.evaluation.candidate import Candidate
from overwinter.metrics import Chosen, EvaluationMetrics

DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is served.

    Attributes:
        chosen: the candidate.
        dense: dense at its best runtime, against which a saving counts.
        pays: whether ``chosen`` uses fewer joules than ``dense``, beyond both intervals.
    """

    chosen: Candidate
    dense: Candidate
    pays: bool

    @property
    def saving(self) -> float:
        """Share of dense's joules per response that is saved; 0 where compression does not pay."""
        return 1.0 - self.chosen.energy_j / self.dense.energy_j if self.pays else 0.0

    def metrics(self, *, device: str, batch_size: int | None = None) -> EvaluationMetrics:
        """Return metrics.json.

        Args:
            device: on which was measured.
            batch_size: at which the joules decided; None of a language model.
        """
        return EvaluationMetrics(
            dense=self.dense.metrics(),
            chosen=self.chosen.metrics(),
            pays=self.pays,
            saving=self.saving,
            size_ratio=self.dense.size_bytes / self.chosen.size_bytes,
            batch_size=batch_size,
            device=device,
        )

    def served(self, *, device: str) -> Chosen:
        """Return chosen.json, which the next stage reads; ``device`` is the one on which was measured."""
        return Chosen(variant=self.chosen.variant, runtime=self.chosen.runtime, device=device)


def choose(candidates: Sequence[Candidate], *, max_quality_loss: float) -> Choice:
    """Choose among candidates.

    The one with the fewest joules is the mark; if dense at its best runtime overlaps it, compression does
    not pay. Else, of the candidates that overlap the mark and beat dense as surely, the simplest wins, then the
    fewest joules.

    Args:
        candidates: dense on at least one runtime, and whatever competes.
        max_quality_loss: how much of dense's score a candidate may lose, in the score's own unit.

    Raises:
        OverwinterError: dense is not among them.
    """
    dense_ones = [candidate for candidate in candidates if candidate.variant == DENSE]
    if not dense_ones:
        raise OverwinterError(
            "No runtime runs the dense model, so there is nothing to compare with. Add one to evaluate.runtimes."
        )
    dense = min(dense_ones, key=_energy_j)
    # A loss of exactly the limit is allowed: the difference of two shares carries rounding.
    good = [
        candidate
        for candidate in candidates
        if candidate.variant == DENSE
        or (
            dense.quality.score - candidate.quality.score <= max_quality_loss + 1e-12
            and not candidate.quality.broken_limits
        )
    ]
    mark = min(good, key=_energy_j)
    if mark.variant == DENSE or _overlap(mark, dense):
        return Choice(chosen=dense, dense=dense, pays=False)
    equals = [candidate for candidate in good if _overlap(candidate, mark) and not _overlap(candidate, dense)]
    return Choice(chosen=min(equals, key=_simplest_first), dense=dense, pays=True)


def _simplest_first(candidate: Candidate) -> tuple[int, float]:
    return candidate.simplicity, candidate.energy_j


def _energy_j(candidate: Candidate) -> float:
    return candidate.energy_j


def _overlap(one: Candidate, other: Candidate) -> bool:
    return one.energy_ci_j[0] <= other.energy_ci_j[1] and other.energy_ci_j[0] <= one.energy_ci_j[1]
