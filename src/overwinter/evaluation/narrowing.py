"""Selection of the sessions that need more samples to decide which uses the least.

A few samples of everything distinguish most variants; the remaining two or three get the rest of the time. This is
successive elimination (Even-Dar et al., 2006), with the same bootstrap intervals as the choice itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.evaluation.figures import kept
from overwinter.evaluation.timing import Key, Sample


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """Cost per output: counted joules (with a GPU's, without modelled ones of the CPU), otherwise CPU-seconds."""

    median: float
    low: float
    high: float

    def overlaps(self, other: _Cost) -> bool:
        return self.low <= other.high and other.low <= self.high

    @property
    def width(self) -> float:
        """Width of the interval, as a share of the median."""
        return (self.high - self.low) / self.median if self.median > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """Request of more samples for the cheapest session and for those with overlapping intervals.

    It ends when no interval overlaps, when all these intervals are narrow, or when enough samples were taken.

    Attributes:
        batch_size: batch size that decides.
        contenders: names of the sessions that may be chosen.
        precision: relative width of an interval that is narrow enough.
        max_samples: The largest number of samples per session, including disturbed ones.
        confidence: confidence level of the intervals.
        seed: seed of the bootstrap.
    """

    batch_size: int
    contenders: Collection[str]
    precision: float
    max_samples: int
    confidence: float
    seed: int

    def __call__(self, samples: Mapping[Key, Sequence[Sample]]) -> list[Key]:
        """Return the keys to sample once more; empty if more samples would not help."""
        taken = {key: samples[key] for key in ((name, self.batch_size) for name in self.contenders)}
        costs = {key: self._cost(each) for key, each in taken.items()}
        if not costs:
            return []
        least = min(costs.values(), key=lambda cost: cost.median)
        rivals = [key for key, cost in costs.items() if cost.overlaps(least)]
        unclear = len(rivals) > 1 and any(costs[key].width > self.precision for key in rivals)
        return [key for key in rivals if len(taken[key]) < self.max_samples] if unclear else []

    def _cost(self, samples: Sequence[Sample]) -> _Cost:
        values = [_cost_of(sample) / sample.responses for sample in kept(samples)]
        low, high = bootstrap_interval(values, confidence=self.confidence, seed=self.seed)
        return _Cost(median=float(np.median(values)), low=low, high=high)


def _cost_of(sample: Sample) -> float:
    if sample.gpu_j is not None:
        return sample.gpu_j + (sample.energy_j or 0.0)
    return sample.cpu_s if sample.energy_j is None else sample.energy_j
