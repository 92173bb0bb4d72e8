"""Figures with confidence intervals, computed from samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.evaluation.joules import Rates
from overwinter.evaluation.timing import Sample
from overwinter.units import format_si

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of one session at one batch size.

    Attributes:
        latency_p50_s: median latency of a call with a whole batch.
        latency_p95_s: 95th percentile of the latency of a call.
        responses_per_s: throughput of one session that is never idle.
        cpu_s_per_response: CPU-seconds per input.
        cpu_s_per_response_ci: its interval.
        energy_per_response_j: joules per input, of the CPU and of the GPU if one computes.
        energy_per_response_ci_j: its interval.
        energy_above_idle_per_response_j: the part of these joules above the idle machine's.
        measured: whether counters gave all the joules; otherwise those of the CPU are modelled from CPU-seconds.
        samples: The number of samples used.
        disturbed_samples: The number of samples taken while other processes used the cores, used or not.
        quiet: whether no used sample was disturbed.
        gpu_energy_per_response_j: counted joules of the GPU per input; None if none computes.
    """

    latency_p50_s: float
    latency_p95_s: float
    responses_per_s: float
    cpu_s_per_response: float
    cpu_s_per_response_ci: Interval
    energy_per_response_j: float
    energy_per_response_ci_j: Interval
    energy_above_idle_per_response_j: float
    measured: bool
    samples: int
    disturbed_samples: int
    quiet: bool
    gpu_energy_per_response_j: float | None = None

    @property
    def provenance(self) -> str:
        """Origin of the joules: ``measured``, ``modelled``, or the measured share."""
        if self.measured:
            return "measured"
        if self.gpu_energy_per_response_j is None:
            return "modelled"
        share = self.gpu_energy_per_response_j / self.energy_per_response_j
        return f"{100 * share:.0f} % measured on the GPU, the CPU's modelled"

    def to_json(self) -> dict[str, Any]:
        """Return the fields for comparison.json."""
        gpu_j = self.gpu_energy_per_response_j
        return {
            "latency_p50_s": self.latency_p50_s,
            "latency_p95_s": self.latency_p95_s,
            "responses_per_s": self.responses_per_s,
            "cpu_s_per_response": self.cpu_s_per_response,
            **low_and_high("cpu_s_per_response", self.cpu_s_per_response_ci),
            "energy_per_response_j": self.energy_per_response_j,
            **low_and_high("energy_per_response", self.energy_per_response_ci_j, unit="_j"),
            "energy_above_idle_per_response_j": self.energy_above_idle_per_response_j,
            **({} if gpu_j is None else {"gpu_energy_per_response_j": gpu_j}),
            "measured": self.measured,
            "samples": self.samples,
            "disturbed_samples": self.disturbed_samples,
        }


@dataclass(frozen=True, kw_only=True)
class BatchCost:
    """Cost of responses by batch size; a response is one sample's output.

    Attributes:
        batch_size: batch size that decides.
        figures: batch size -> figures.
    """

    batch_size: int
    figures: Mapping[int, Figures]

    @property
    def shape_tokens(self) -> None:
        """None: a response is no generated text."""

    @property
    def latency_p50_s(self) -> float:
        """Median latency of a call."""
        return self._deciding.latency_p50_s

    @property
    def energy_per_response_j(self) -> float:
        """Joules per input."""
        return self._deciding.energy_per_response_j

    @property
    def energy_per_response_ci_j(self) -> Interval:
        """Confidence interval of the joules."""
        return self._deciding.energy_per_response_ci_j

    @property
    def samples(self) -> int:
        """The number of samples that the interval comes from."""
        return self._deciding.samples

    @property
    def measured(self) -> bool:
        """True if counters gave all the joules."""
        return self._deciding.measured

    @property
    def quiet(self) -> bool:
        """True if no other process used the cores during the used samples."""
        return all(each.quiet for each in self.figures.values())

    def brief(self) -> str:
        """Return the joules per response in words."""
        energy = format_si(self.energy_per_response_j, "J")
        return f"{energy} per response ({self._deciding.provenance}, batch {self.batch_size})"

    def describe(self) -> str:
        """Return joules, latency and throughput in words."""
        p50, p95 = (format_si(each, "s") for each in (self.latency_p50_s, self._deciding.latency_p95_s))
        rates = ", ".join(f"{each.responses_per_s:.0f}/s at batch {size}" for size, each in self.figures.items())
        energy = format_si(self.energy_per_response_j, "J")
        return f"{energy} per response; {p50} (p95 {p95}) per batch of {self.batch_size}; {rates}"

    def to_json(self) -> dict[str, Any]:
        """Return the figures at the batch size that decides, and those at each."""
        return {
            **self._deciding.to_json(),
            "batch_size": self.batch_size,
            "at_batch": {str(size): each.to_json() for size, each in self.figures.items()},
        }

    @property
    def _deciding(self) -> Figures:
        return self.figures[self.batch_size]


def low_and_high(name: str, interval: Interval, unit: str = "") -> dict[str, float]:
    """Return the ends of an interval as numbers by name, which a budget can limit."""
    low, high = interval
    return {f"{name}_low{unit}": low, f"{name}_high{unit}": high}


def summarize(samples: Sequence[Sample], *, rates: Rates, confidence: float, seed: int) -> Figures:
    """Return the figures of one session at one batch size.

    Args:
        samples: all samples, including disturbed ones; at least one.
        rates: joules per CPU-second, for samples without a counter.
        confidence: confidence level of the intervals.
        seed: seed of the bootstrap.
    """
    taken = kept(samples)
    cpu_s = [sample.cpu_s / sample.responses for sample in taken]
    energy_j = [_total_j(each, rates) / each.responses for each in taken]
    gpu_j = [each.gpu_j / each.responses for each in taken if each.gpu_j is not None]
    p50_s, p95_s = np.quantile(np.concatenate([sample.latencies_s for sample in taken]), [0.5, 0.95])
    return Figures(
        latency_p50_s=float(p50_s),
        latency_p95_s=float(p95_s),
        responses_per_s=float(np.median([sample.responses / sample.wall_s for sample in taken])),
        cpu_s_per_response=float(np.median(cpu_s)),
        cpu_s_per_response_ci=bootstrap_interval(cpu_s, confidence=confidence, seed=seed),
        energy_per_response_j=float(np.median(energy_j)),
        energy_per_response_ci_j=bootstrap_interval(energy_j, confidence=confidence, seed=seed),
        energy_above_idle_per_response_j=float(
            np.median([_above_idle_j(each, rates) / each.responses for each in taken])
        ),
        measured=all(sample.energy_j is not None for sample in taken),
        samples=len(taken),
        disturbed_samples=sum(sample.disturbed for sample in samples),
        quiet=not any(sample.disturbed for sample in taken),
        gpu_energy_per_response_j=float(np.median(gpu_j)) if gpu_j else None,
    )


def kept(samples: Sequence[Sample]) -> list[Sample]:
    """Return the undisturbed samples; on a machine that is never quiet, the least disturbed half."""
    quiet = [sample for sample in samples if not sample.disturbed]
    enough = math.ceil(len(samples) / 4)
    if len(quiet) >= enough:
        return quiet
    return sorted(samples, key=_foreign_share)[: math.ceil(len(samples) / 2)]


def _foreign_share(sample: Sample) -> float:
    return (sample.foreign_s + sample.waited_s) / sample.wall_s


def _total_j(sample: Sample, rates: Rates) -> float:
    if sample.gpu_j is None:
        return rates.total_j(cpu_s=sample.cpu_s, counted_j=sample.energy_j)
    return rates.total_j(cpu_s=sample.cpu_s, counted_j=sample.energy_j, gpu_s=sample.wall_s) + sample.gpu_j


def _above_idle_j(sample: Sample, rates: Rates) -> float:
    gpu_j = max(0.0, (sample.gpu_j or 0.0) - rates.gpu_idle_w * sample.wall_s)
    return rates.above_idle_j(cpu_s=sample.cpu_s, wall_s=sample.wall_s, counted_j=sample.energy_j) + gpu_j
