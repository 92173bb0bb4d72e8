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

from overwinter.evaluation.disturbance import CoreWatch, is_disturbed
from overwinter.evaluation.joules import CpuJoules
from overwinter.inputs import Inputs, count
from overwinter.progress import Progress
from overwinter.runtime import Session

_WARM_UP_CALLS = 10
Key = tuple[str, int]  # the session's name and the batch size


@dataclass(frozen=True, kw_only=True)
class TimingPlan:
    """Settings of the timing.

    Attributes:
        repeats: samples per session and batch size.
        sample_duration_s: shortest duration of a sample; a GPU's counter may need more (`min_sample_s`).
        seed: seed of the order.
    """

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
    latencies_s: Sequence[float]
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
    batches: Mapping[int, Sequence[Inputs]],
    plan: TimingPlan,
    joules: CpuJoules,
    progress: Progress,
    again: Again = lambda _samples: [],
) -> dict[Key, list[Sample]]:
    """Time every session at every batch size.

    Args:
        sessions: name -> session.
        batches: batch size -> batches of model inputs, which take turns; several where their lengths differ.
        plan: settings of the timing.
        joules: reader of the meter.
        progress: called with the samples done and the total.
        again: function that returns the keys to sample again after the planned rounds, until it returns none.

    Returns:
        (name, batch size) -> samples, disturbed ones included.
    """
    duration_s = max(plan.sample_duration_s, joules.min_sample_s)
    calls = {
        (name, size): _calls_per_sample(session, batches[size], duration_s)
        for (name, session), size in itertools.product(sessions.items(), batches)
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


def _calls_per_sample(session: Session, batches: Sequence[Inputs], duration_s: float) -> int:
    """Warm up, and return the number of calls, at the speed of the fastest, that fill ``duration_s``.

    It is a multiple of the number of batches, so that every sample does the same work.
    """
    times_s = []
    for batch in itertools.islice(itertools.cycle(batches), max(_WARM_UP_CALLS, len(batches))):
        begin_s = time.perf_counter()
        session.run(batch)
        times_s.append(time.perf_counter() - begin_s)
    calls = max(1, math.ceil(duration_s / max(min(times_s), 1e-7)))
    return math.ceil(calls / len(batches)) * len(batches)


def _sample(session: Session, batches: Sequence[Inputs], calls: int, joules: CpuJoules) -> Sample:
    times_s = [0.0] * (calls + 1)
    clock, run = time.perf_counter, session.run
    turns = list(itertools.islice(itertools.cycle(batches), calls))
    run(turns[0])  # fills the caches, which hold the previous session's data
    with joules.piece() as reading:
        watch = CoreWatch()
        begin_cpu_s = time.process_time()
        times_s[0] = clock()
        for call, batch in enumerate(turns, 1):
            run(batch)
            times_s[call] = clock()
        cpu_s = time.process_time() - begin_cpu_s
        foreign_s = watch.foreign_s()
    return Sample(
        responses=sum(map(count, turns)),
        wall_s=times_s[-1] - times_s[0],
        cpu_s=cpu_s,
        energy_j=reading.energy_j,
        latencies_s=[end_s - begin_s for begin_s, end_s in itertools.pairwise(times_s)],
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
