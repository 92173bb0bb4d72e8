"""Comparison of speed and joules, from sessions to figures, on real inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from overwinter.config.groups import EvaluateConfig
from overwinter.data import Split
from overwinter.energy import EnergyMeter
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.gpu_joules import joules_of
from overwinter.evaluation.narrowing import Narrowing
from overwinter.evaluation.timing import TimingPlan, measure_speed
from overwinter.inputs import Inputs, named, to_arrays
from overwinter.runtime import Session

_DRAWS = 8  # batches per size where inputs differ in length, for a typical mix of lengths


def draw_batches(split: Split, sizes: Sequence[int], *, seed: int) -> dict[int, list[Inputs]]:
    """Draw batches of real samples, collated as the data set collates them: batch size -> batches.

    Inputs of one shape give one batch per size, inputs whose lengths differ give eight, each padded by itself.

    Args:
        split: the test split; if it is smaller than a batch, its samples are repeated.
        sizes: batch sizes.
        seed: seed of the drawing.
    """
    varies = len({_shape(inputs) for inputs in split.singles(_DRAWS)}) > 1
    draws = _DRAWS if varies else 1
    samples = split.spread_samples(draws * max(sizes), seed=seed)  # one pass over data that streams
    return {size: [_collated(split, samples, size, draw * size) for draw in range(draws)] for size in sizes}


def _collated(split: Split, samples: Sequence[Any], size: int, begin: int) -> Inputs:
    inputs, _ = split.collation([samples[(begin + place) % len(samples)] for place in range(size)])
    return to_arrays(inputs)


def _shape(inputs: Any) -> tuple[Any, ...]:
    return tuple((name, tuple(value.shape)) for name, value in named(inputs).items())


def compare_speed(
    sessions: Mapping[str, Session],
    batches: Mapping[int, Sequence[Inputs]],
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
        batches: batch size -> batches to time at that size (see `draw_batches`).
        settings: the group `evaluate`.
        meter: the stage's meter.
        seed: seed of the order and the bootstrap.
        progress: called with the samples done and the total.
        contenders: names of the sessions with acceptable quality; None: all.
        device: device of the sessions.

    Raises:
        ConfigError: no meter covers the CPU or the device.
    """
    plan = TimingPlan(repeats=settings.repeats, sample_duration_s=settings.sample_duration_s, seed=seed)
    joules = joules_of(meter, device)
    narrowing = _narrowing(settings, sessions if contenders is None else contenders, seed)
    samples = measure_speed(sessions, batches, plan, joules, progress, narrowing)
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
