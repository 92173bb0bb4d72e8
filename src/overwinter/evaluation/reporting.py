"""Reports on all candidates: the verdict in words, and comparison.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from overwinter.evaluation.candidate import Candidate
from overwinter.evaluation.choosing import Choice, within_limits
from overwinter.evaluation.generation_cost import GenerationCost
from overwinter.metrics import Comparison
from overwinter.models.given import AS_GIVEN, INPUT_FILE
from overwinter.units import format_bytes

_SHAPES = ((512, 32), (128, 128), (32, 512))  # tokens read and written: a summary, a conversation, a long answer


def verdict(candidates: Sequence[Candidate], choice: Choice, *, max_quality_loss: float) -> list[str]:
    """Return one line per candidate, and a few on the choice."""
    chosen = choice.chosen
    sentence = f"{chosen.name} is chosen: {chosen.cost.brief()}, {chosen.quality.brief()}, "
    sentence += f"{format_bytes(chosen.size_bytes)}; {_reason(choice)}"
    lines = [*(candidate.describe() for candidate in candidates), sentence]
    if choice.keeps_file:
        lines.append(_keep(choice))
    good = within_limits(candidates, choice.dense, max_quality_loss=max_quality_loss)
    lines += _other_shapes(good, choice)
    if not all(candidate.cost.quiet for candidate in candidates):
        lines.append("Other processes used the cores during the measurement, which widens the intervals")
    return lines


def _reason(choice: Choice) -> str:
    chosen, reference = choice.chosen, choice.reference
    if not choice.pays:
        return (
            "no other variant within the quality limits uses fewer joules beyond the uncertainty, so compression does "
            "not pay"
        )
    words = f"{100 * choice.saving:.0f} % fewer joules than {reference.name} ({reference.quality.brief()})"
    return f"{words}; {chosen.quality.loss()}"


def _keep(choice: Choice) -> str:
    chosen, dense = choice.chosen, choice.dense
    what = {
        INPUT_FILE: f"Keep your file and run it on {chosen.runtime}",
        AS_GIVEN: f"Keep your file's own integers and run them on {chosen.runtime}",
    }[chosen.variant]
    times = f"dense at its best ({dense.name}) uses {dense.energy_j / chosen.energy_j:.1f} times the joules"
    return f"{what}: nothing made of it here is cheaper beyond the uncertainty, and {times}"


def _other_shapes(good: Sequence[Candidate], choice: Choice) -> list[str]:
    """Return which candidates would use the fewest joules for responses of other shapes, if others than the chosen."""
    costs = {each.name: each.cost for each in good if isinstance(each.cost, GenerationCost)}
    if choice.chosen.name not in costs:
        return []
    found = {f"{read}+{written}": _cheapest(costs, read, written) for read, written in _SHAPES}
    others = {shape: name for shape, name in found.items() if name != choice.chosen.name}
    if not others:
        return []
    named = ", ".join(f"{name} at {shape}" for shape, name in others.items())
    line = (
        f"The choice is for {costs[choice.chosen.name].shape}, tokens read + written. By the joules per token measured "
        f"there, the cheapest would be {named}: set evaluate.prompt_tokens and evaluate.written_tokens to your "
        "responses' shape"
    )
    return [line]


def _cheapest(costs: Mapping[str, GenerationCost], read: int, written: int) -> str:
    return min(costs, key=lambda name: costs[name].energy_at(read, written))


def comparison(candidates: Sequence[Candidate]) -> Comparison:
    """Return comparison.json, with all measurements of every candidate."""
    return Comparison(candidates={candidate.name: candidate.to_json() for candidate in candidates})
