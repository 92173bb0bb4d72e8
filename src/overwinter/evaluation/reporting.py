"""Reports on all candidates: the verdict in words, and comparison.json."""

from __future__ import annotations

from collections.abc import Sequence

from overwinter.evaluation.candidate import Candidate
from overwinter.evaluation.choosing import Choice
from overwinter.metrics import Comparison
from overwinter.units import format_bytes


def verdict(candidates: Sequence[Candidate], choice: Choice) -> list[str]:
    """Return one line per candidate, and one or two on the choice."""
    chosen, dense = choice.chosen, choice.dense
    sentence = f"{chosen.name} is chosen: {chosen.cost.brief()}, {chosen.quality.brief()}, "
    sentence += format_bytes(chosen.size_bytes)
    if choice.pays:
        sentence += f"; {100 * choice.saving:.0f} % fewer joules than {dense.name} ({dense.quality.brief()})"
        sentence += f"; {chosen.quality.loss()}"
    else:
        sentence += "; no other variant within the quality limits uses fewer joules beyond the uncertainty, so "
        sentence += "compression does not pay"
    lines = [*(candidate.describe() for candidate in candidates), sentence]
    if not all(candidate.cost.quiet for candidate in candidates):
        lines.append("Other processes used the cores during the measurement, which widens the intervals")
    return lines


def comparison(candidates: Sequence[Candidate]) -> Comparison:
    """Return comparison.json, with all measurements of every candidate."""
    return Comparison(candidates={candidate.name: candidate.to_json() for candidate in candidates})
