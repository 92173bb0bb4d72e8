"""Choice of the candidate to serve: the fewest joules within the quality limits; among equals the simplest.

Whatever was made of a model has to beat what was there before: the dense model, and the file that it came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.errors import OverwinterError
from overwinter.evaluation.candidate import Candidate
from overwinter.metrics import Chosen, EvaluationMetrics
from overwinter.models.given import GIVEN

DENSE = "dense"
_BEFORE = (DENSE, *GIVEN)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen candidate and its comparison with what was there before.

    Attributes:
        chosen: the candidate to serve.
        dense: dense on its best runtime, the reference of the quality.
        reference: what a saving is against: the one with the fewest joules of dense and the file as it was given.
        pays: whether ``chosen`` uses fewer joules than ``reference``, beyond both intervals.
    """

    chosen: Candidate
    dense: Candidate
    reference: Candidate
    pays: bool

    @property
    def saving(self) -> float:
        """Share of the reference's joules per response that is saved; 0 if compression does not pay."""
        return 1.0 - self.chosen.energy_j / self.reference.energy_j if self.pays else 0.0

    @property
    def keeps_file(self) -> bool:
        """Whether the file that the model came in is chosen."""
        return self.chosen.variant in GIVEN

    def metrics(self, *, device: str) -> EvaluationMetrics:
        """Return metrics.json; ``device`` is the device of the measurements."""
        prompt_tokens, written_tokens = self.chosen.cost.shape_tokens or (None, None)
        return EvaluationMetrics(
            dense=self.dense.metrics(),
            given=self.reference.metrics() if self.reference.variant in GIVEN else None,
            chosen=self.chosen.metrics(),
            pays=self.pays,
            saving=self.saving,
            size_ratio=self.reference.size_bytes / self.chosen.size_bytes,
            batch_size=self.chosen.cost.batch_size,
            prompt_tokens=prompt_tokens,
            written_tokens=written_tokens,
            device=device,
        )

    def served(self, *, device: str) -> Chosen:
        """Return chosen.json for the next stage; ``device`` is the device of the measurements."""
        return Chosen(variant=self.chosen.variant, runtime=self.chosen.runtime, device=device)


def choose(candidates: Sequence[Candidate], *, max_quality_loss: float) -> Choice:
    """Choose among candidates.

    The reference is the one with the fewest joules of dense and the file as it was given, within the limits. If the
    interval of the one with the fewest joules of all overlaps the reference's, compression does not pay. Otherwise, of
    the candidates that overlap the best one and not the reference, the simplest wins, then the one with the fewest
    joules.

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
    good = within_limits(candidates, dense, max_quality_loss=max_quality_loss)
    reference = min((candidate for candidate in good if candidate.variant in _BEFORE), key=_energy_j)
    best = min(good, key=_energy_j)
    if best.variant in _BEFORE or _overlap(best, reference):
        return Choice(chosen=reference, dense=dense, reference=reference, pays=False)
    equals = [candidate for candidate in good if _overlap(candidate, best) and not _overlap(candidate, reference)]
    return Choice(chosen=min(equals, key=_simplest_first), dense=dense, reference=reference, pays=True)


def within_limits(candidates: Sequence[Candidate], dense: Candidate, *, max_quality_loss: float) -> list[Candidate]:
    """Return the candidates that keep the limits on quality; dense always does."""
    # A loss of exactly the limit is allowed: the difference of two shares has rounding errors.
    return [
        candidate
        for candidate in candidates
        if candidate.variant == DENSE
        or (
            candidate.quality.loss_against(dense.quality) <= max_quality_loss + 1e-12
            and not candidate.quality.broken_limits
        )
    ]


def _simplest_first(candidate: Candidate) -> tuple[int, float]:
    return candidate.simplicity, candidate.energy_j


def _energy_j(candidate: Candidate) -> float:
    return candidate.energy_j


def _overlap(one: Candidate, other: Candidate) -> bool:
    return one.energy_ci_j[0] <= other.energy_ci_j[1] and other.energy_ci_j[0] <= one.energy_ci_j[1]
