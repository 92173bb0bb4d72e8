"""Comparison of speed and joules, from sessions to figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from overwinter.config.groups import EvaluateConfig
from overwinter.energy import EnergyMeter
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.gpu_joules import joules_of
from overwinter.evaluation.narrowing import Narrowing
from overwinter.evaluation.timing import TimingPlan, measure_speed
from overwinter.runtime import Array, Session


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

    The contenders that may use the least are sampled until it is clear which does (see `Narrowing`).

    Args:
        sessions: name -> session.
        inputs: model inputs (n, ...) to draw batches from.
        settings: the group `evaluate`.
        meter: the stage's meter.
        seed: seed of the order, the inputs and the bootstrap.
        progress: called with the samples done and the total.
        contenders: names of the sessions with acceptable quality; None: all.
        device: device of the sessions.

    Raises:
        ConfigError: there is no input, or no meter covers the CPU or the device.
    """
    plan = TimingPlan(
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
        max_samples=settings.max_repeats,
        confidence=settings.confidence,
        seed=seed,
    )
