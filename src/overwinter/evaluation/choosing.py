"""Choice of the candidate to serve: the fewest joules within the quality limits; among equals the simplest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.errors import OverwinterError
from overwinter.evaluation.candidate import Candidate
from overwinter.metrics import Chosen, EvaluationMetrics

DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen candidate and its comparison with dense.

    Attributes:
        chosen: the candidate to serve.
        dense: dense on its best runtime, the reference of a saving.
        pays: whether ``chosen`` uses fewer joules than ``dense``, beyond both intervals.
    """

    chosen: Candidate
    dense: Candidate
    pays: bool

    @property
    def saving(self) -> float:
        """Share of dense's joules per response that is saved; 0 if compression does not pay."""
        return 1.0 - self.chosen.energy_j / self.dense.energy_j if self.pays else 0.0

    def metrics(self, *, device: str) -> EvaluationMetrics:
        """Return metrics.json; ``device`` is the device of the measurements."""
        return EvaluationMetrics(
            dense=self.dense.metrics(),
            chosen=self.chosen.metrics(),
            pays=self.pays,
            saving=self.saving,
            size_ratio=self.dense.size_bytes / self.chosen.size_bytes,
            batch_size=self.chosen.cost.batch_size,
            device=device,
        )

    def served(self, *, device: str) -> Chosen:
        """Return chosen.json for the next stage; ``device`` is the device of the measurements."""
        return Chosen(variant=self.chosen.variant, runtime=self.chosen.runtime, device=device)


def choose(candidates: Sequence[Candidate], *, max_quality_loss: float) -> Choice:
    """Choose among candidates.

    If the interval of the one with the fewest joules overlaps that of dense on its best runtime, compression does not
    pay. Otherwise, of the candidates that overlap the best one and not dense, the simplest wins, then the one with the
    fewest joules.

    Args:
        candidates: dense on at least one runtime, and its competitors.
        max_quality_loss: largest allowed loss of the headline measure against dense's: in points, or a share of it.

    Raises:
        OverwinterError: there is no dense candidate.
    """
    dense_ones = [candidate for candidate in candidates if candidate.variant == DENSE]
    if not dense_ones:
        raise OverwinterError(
            "No runtime runs the dense model, so there is nothing to compare with. Add one to evaluate.runtimes."
        )
    dense = min(dense_ones, key=_energy_j)
    # A loss of exactly the limit is allowed: the difference of two shares has rounding errors.
    good = [
        candidate
        for candidate in candidates
        if candidate.variant == DENSE
        or (
            candidate.quality.loss_against(dense.quality) <= max_quality_loss + 1e-12
            and not candidate.quality.broken_limits
        )
    ]
    best = min(good, key=_energy_j)
    if best.variant == DENSE or _overlap(best, dense):
        return Choice(chosen=dense, dense=dense, pays=False)
    equals = [candidate for candidate in good if _overlap(candidate, best) and not _overlap(candidate, dense)]
    return Choice(chosen=min(equals, key=_simplest_first), dense=dense, pays=True)


def _simplest_first(candidate: Candidate) -> tuple[int, float]:
    return candidate.simplicity, candidate.energy_j


def _energy_j(candidate: Candidate) -> float:
    return candidate.energy_j


def _overlap(one: Candidate, other: Candidate) -> bool:
    return one.energy_ci_j[0] <= other.energy_ci_j[1] and other.energy_ci_j[0] <= one.energy_ci_j[1]
