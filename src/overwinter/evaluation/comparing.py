"""The whole comparison of speed and joules, from sessions to figures, and the sentence it comes down to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from overwinter.config.groups import EvaluateConfig
from overwinter.energy import EnergyMeter
from overwinter.evaluation.choosing import Choice
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.gpu_joules import joules_of
from overwinter.evaluation.narrowing import Narrowing
from overwinter.evaluation.reporting import Candidate
from overwinter.evaluation.timing import Plan, measure_speed
from overwinter.runtime import Array, Session
from overwinter.units import format_bytes, format_si


def compare_speed(
    sessions: Mapping[str, Session],
    inputs: Array,
    settings: EvaluateConfig,
    *,
    meter: EnergyMeter,
    seed: int,
    progress: Callable[[float, float], None],
    contenders: Collection[str] | None = None,
    device: str = "cpu",
) -> dict[str, dict[int, Figures]]:
    """Time all sessions and return name -> batch size -> figures.

    Those of the contenders that may use the least are sampled until it is clear which does (see `Narrowing`).

    Args:
        sessions: name -> session.
        inputs: model inputs (n, ...) to draw batches from.
        settings: the group `evaluate`.
        meter: the stage's.
        seed: of the order, the inputs and the bootstrap.
        progress: called with samples done and to do.
        contenders: names of the sessions that are good enough to be chosen; None for all.
        device: on which the sessions compute.

    Raises:
        ConfigError: there is no input, or no meter covers the CPU, or the device.
    """
    plan = Plan(
        batch_sizes=settings.batch_sizes,
        repeats=settings.repeats,
        sample_duration_s=settings.sample_duration_s,
        seed=seed,
    )
    joules = joules_of(meter, device)
    narrowing = _narrowing(settings, sessions if contenders is None else contenders, seed)
    samples = measure_speed(sessions, inputs, plan, joules, progress, narrowing)
    rates = joules.rates(settings.threads)
    figures: dict[str, dict[int, Figures]] = {name: {} for name in sessions}
    for (name, size), taken in samples.items():
        figures[name][size] = summarize(taken, rates=rates, confidence=settings.confidence, seed=seed)
    return figures


def _narrowing(settings: EvaluateConfig, contenders: Collection[str], seed: int) -> Narrowing:
    return Narrowing(
        batch_size=settings.choose_at_batch_size,
        contenders=contenders,
        precision=settings.precision,
        most_samples=settings.most_repeats,
        confidence=settings.confidence,
        seed=seed,
    )


def describe(candidate: Candidate, batch_size: int) -> str:
    """Return a candidate's figures in a line."""
    figures = candidate.figures[batch_size]
    p50, p95 = (format_si(latency_s, "s") for latency_s in (figures.latency_p50_s, figures.latency_p95_s))
    rates = (f"{each.answers_per_s:.0f}/s at batch {size}" for size, each in candidate.figures.items())
    said = [
        f"accuracy {_percent(candidate.quality.accuracy)} (between {_percents(candidate.quality.accuracy_ci)})",
        f"{format_si(figures.energy_per_answer_j, 'J')} per answer",
        f"{p50} (p95 {p95}) per batch of {batch_size}",
        ", ".join(rates),
        format_bytes(candidate.size_bytes),
    ]
    if candidate.load_s is not None and candidate.peak_memory_bytes is not None:
        said.append(f"loads in {candidate.load_s:.2f} s and {format_bytes(candidate.peak_memory_bytes)} of memory")
    if candidate.peak_gpu_memory_bytes is not None:
        said.append(f"{format_bytes(candidate.peak_gpu_memory_bytes)} of the GPU's")
    return f"{candidate.name}: " + "; ".join([*said, *(f"too bad: {each}" for each in candidate.quality.broken_limits)])


def verdict(candidates: Sequence[Candidate], choice: Choice, batch_size: int) -> str:
    """Return the choice in a sentence or three."""
    by_name = {candidate.name: candidate for candidate in candidates}
    chosen, dense = by_name[choice.chosen.name], by_name[choice.dense.name]
    figures = chosen.figures[batch_size]
    cost = f"{format_si(figures.energy_per_answer_j, 'J')} per answer ({figures.provenance}, batch {batch_size})"
    said = f"{chosen.name} is chosen: {cost}, accuracy {_percent(chosen.quality.accuracy)}, "
    said += format_bytes(chosen.size_bytes)
    if choice.pays:
        said += f"; {100 * choice.saving:.0f} % fewer joules than {dense.name} ({_percent(dense.quality.accuracy)})"
        said += f"; between {_percents(chosen.quality.accuracy_loss_ci)} of accuracy lost"
    else:
        said += "; no other form within the limits on quality uses fewer joules beyond the uncertainty, so compression "
        said += "does not pay"
    if not all(each.quiet for candidate in candidates for each in candidate.figures.values()):
        said += "\nOther processes used the cores meanwhile: the intervals are wider than they could be"
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _percents(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * low:.2f} and {100 * high:.2f} %"
