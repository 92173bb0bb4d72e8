"""The whole comparison of speed and joules, from sessions to figures, and the sentence it comes down to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from overwinter.config.groups import EvaluateConfig
from overwinter.energy import EnergyMeter
from overwinter.evaluation.choosing import Choice
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.joules import CpuJoules
from overwinter.evaluation.reporting import Candidate
from overwinter.evaluation.timing import Plan, measure_speed
from overwinter.serving import Array, Session
from overwinter.units import format_bytes, format_si


def compare_speed(
    sessions: Mapping[str, Session],
    inputs: Array,
    settings: EvaluateConfig,
    *,
    meter: EnergyMeter,
    seed: int,
    progress: Callable[[float, float], None],
) -> dict[str, dict[int, Figures]]:
    """Time all sessions and return name -> batch size -> figures.

    Args:
        sessions: name -> session.
        inputs: model inputs (n, ...) to draw batches from.
        settings: the group `evaluate`.
        meter: the stage's.
        seed: of the order, the inputs and the bootstrap.
        progress: called with samples done and to do.

    Raises:
        ConfigError: there is no input, or no meter covers the CPU.
    """
    plan = Plan(
        batch_sizes=settings.batch_sizes,
        repeats=settings.repeats,
        sample_duration_s=settings.sample_duration_s,
        seed=seed,
    )
    joules = CpuJoules(meter)
    samples = measure_speed(sessions, inputs, plan, joules, progress)
    joules_per_cpu_s = joules.joules_per_cpu_s(settings.threads)
    figures: dict[str, dict[int, Figures]] = {name: {} for name in sessions}
    for (name, size), taken in samples.items():
        figures[name][size] = summarize(
            taken, joules_per_cpu_s=joules_per_cpu_s, confidence=settings.confidence, seed=seed
        )
    return figures


def verdict(candidates: Sequence[Candidate], choice: Choice, batch_size: int) -> str:
    """Return the choice in a sentence or three."""
    by_name = {candidate.name: candidate for candidate in candidates}
    chosen, dense = by_name[choice.chosen.name], by_name[choice.dense.name]
    figures = chosen.figures[batch_size]
    kind = "measured" if figures.measured else "modelled"
    cost = f"{format_si(figures.energy_per_answer_j, 'J')} per answer ({kind}, batch {batch_size})"
    said = f"{chosen.name} is chosen: {cost}, accuracy {100 * chosen.accuracy:.2f} %, "
    said += format_bytes(chosen.size_bytes)
    if choice.pays:
        said += f"; {100 * choice.saving:.0f} % fewer joules than {dense.name} ({100 * dense.accuracy:.2f} %)"
    else:
        said += "; no other form uses fewer joules beyond the uncertainty, so compression does not pay"
    if not all(each.quiet for candidate in candidates for each in candidate.figures.values()):
        said += "\nOther processes used the cores meanwhile: the intervals are wider than they could be"
    return said
