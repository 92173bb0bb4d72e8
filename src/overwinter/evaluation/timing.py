"""Timing of several sessions in one process.

Samples are interleaved in random order, so that a slow minute of the machine affects all sessions, after a warm-up, and
each is long enough for the clocks. Samples during which other processes used the cores are repeated, up to half as many
as were planned.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from overwinter.errors import ConfigError
from overwinter.evaluation.disturbance import CoreWatch, is_disturbed
from overwinter.evaluation.joules import CpuJoules
from overwinter.progress import Progress
from overwinter.runtime import Array, Session

_WARM_UP_CALLS = 10
Key = tuple[str, int]  # the session's name and the batch size


@dataclass(frozen=True, kw_only=True)
class TimingPlan:
    """Settings of the timing.

    Attributes:
        batch_sizes: batch sizes at which each session is timed.
        repeats: samples per session and batch size.
        sample_duration_s: shortest duration of a sample; a GPU's counter may need more (`min_sample_s`).
        seed: seed of the order and of the inputs.
    """

    batch_sizes: Sequence[int]
    repeats: int
    sample_duration_s: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One timed sample of a session at one batch size.

    Attributes:
        responses: The number of inputs processed.
        wall_s: duration of the sample.
        cpu_s: CPU time of this process.
        energy_j: counted joules of the CPU; None without a counter.
        latencies_s: latency of each call.
        foreign_s: CPU time of other processes, on all cores.
        gpu_j: counted joules of the GPU; None if none computes.
    """

    responses: int
    wall_s: float
    cpu_s: float
    energy_j: float | None
    latencies_s: Array
    foreign_s: float
    gpu_j: float | None = None

    @property
    def waited_s(self) -> float:
        """Time for which other processes kept this one waiting; waiting for a GPU does not count."""
        return max(0.0, self.wall_s - self.cpu_s) if self.gpu_j is None else 0.0

    @property
    def disturbed(self) -> bool:
        """True if other processes used the cores."""
        own_cpu_s = self.cpu_s if self.gpu_j is None else self.wall_s
        return is_disturbed(wall_s=self.wall_s, own_cpu_s=own_cpu_s, foreign_s=self.foreign_s)


Again = Callable[[Mapping[Key, Sequence[Sample]]], Sequence[Key]]


def measure_speed(
    sessions: Mapping[str, Session],
    inputs: Array,
    plan: TimingPlan,
    joules: CpuJoules,
    progress: Progress,
    again: Again = lambda _samples: [],
) -> dict[Key, list[Sample]]:
    """Time every session at every batch size.

    Args:
        sessions: name -> session.
        inputs: model inputs (n, ...); batches are drawn from them at random.
        plan: settings of the timing.
        joules: reader of the meter.
        progress: called with the samples done and the total.
        again: function that returns the keys to sample again after the planned rounds, until it returns none.

    Returns:
        (name, batch size) -> samples, disturbed ones included.

    Raises:
        ConfigError: there is no input.
    """
    if len(inputs) == 0:
        raise ConfigError("There are no inputs to time the model with.")
    batches = _batches(inputs, plan)
    duration_s = max(plan.sample_duration_s, joules.min_sample_s)
    calls = {
        (name, size): _calls_per_sample(session, batches[size], duration_s)
        for (name, session), size in itertools.product(sessions.items(), plan.batch_sizes)
    }
    samples: dict[Key, list[Sample]] = {key: [] for key in calls}
    shuffler = random.Random(plan.seed)  # noqa: S311 -- an order, not a secret
    total = plan.repeats * len(calls)
    with _no_garbage_collection():
        for wanted in _rounds(samples, plan.repeats, again):
            for key in shuffler.sample(wanted, len(wanted)):
                samples[key].append(_sample(sessions[key[0]], batches[key[1]], calls[key], joules))
                progress(min(total, sum(map(len, samples.values()))), total)
    return samples


def _rounds(samples: Mapping[Key, Sequence[Sample]], repeats: int, again: Again) -> Iterator[Sequence[Key]]:
    """Yield the keys to sample: all, then the disturbed ones, then those that ``again`` returns."""
    for _ in range(repeats):
        yield list(samples)
    for _ in range(math.ceil(repeats / 2)):
        yield _to_repeat(samples, repeats)
    while wanted := again(samples):
        yield wanted


def _to_repeat(samples: Mapping[Key, Sequence[Sample]], repeats: int) -> list[Key]:
    """Return the keys that lack quiet samples; empty if the machine is hardly ever quiet."""
    quiet = {key: sum(not sample.disturbed for sample in taken) for key, taken in samples.items()}
    if sum(quiet.values()) < len(quiet) * repeats / 4:
        return []
    return [key for key, count in quiet.items() if count < repeats]


def _batches(inputs: Array, plan: TimingPlan) -> dict[int, Array]:
    generator = np.random.default_rng(plan.seed)
    return {size: inputs[generator.integers(len(inputs), size=size)] for size in plan.batch_sizes}


def _calls_per_sample(session: Session, batch: Array, duration_s: float) -> int:
    """Warm up, and return the number of calls, at the speed of the fastest, that fill ``duration_s``."""
    times_s = []
    for _ in range(_WARM_UP_CALLS):
        begin_s = time.perf_counter()
        session.run(batch)
        times_s.append(time.perf_counter() - begin_s)
    return max(1, math.ceil(duration_s / max(min(times_s), 1e-7)))


def _sample(session: Session, batch: Array, calls: int, joules: CpuJoules) -> Sample:
    times_s = [0.0] * (calls + 1)
    clock, run = time.perf_counter, session.run
    run(batch)  # fills the caches, which hold the previous session's data
    with joules.piece() as reading:
        watch = CoreWatch()
        begin_cpu_s = time.process_time()
        times_s[0] = clock()
        for call in range(1, calls + 1):
            run(batch)
            times_s[call] = clock()
        cpu_s = time.process_time() - begin_cpu_s
        foreign_s = watch.foreign_s()
    return Sample(
        responses=calls * len(batch),
        wall_s=times_s[-1] - times_s[0],
        cpu_s=cpu_s,
        energy_j=reading.energy_j,
        latencies_s=np.diff(times_s),
        foreign_s=foreign_s,
        gpu_j=reading.gpu_j,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
