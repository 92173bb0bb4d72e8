"""A candidate: a variant on a runtime, with its measurements."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from overwinter.evaluation.figures import Interval
from overwinter.evaluation.interface import CandidateCost
from overwinter.evaluation.quality import Quality
from overwinter.metrics import CandidateMetrics
from overwinter.runtime import Readiness
from overwinter.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A measured variant on a runtime.

    Attributes:
        variant: ``dense``, ``sparse``, ...
        runtime: name of the runtime.
        simplicity: rank, 0 for dense, higher for each transformation; lower is simpler.
        size_bytes: size of the files that the runtime loads.
        quality: quality on the test split, of the timed session.
        cost: cost of its responses.
        loading: loading time and memory in a fresh process; None if not measured.
    """

    variant: str
    runtime: str
    simplicity: int
    size_bytes: int
    quality: Quality
    cost: CandidateCost
    loading: Readiness | None = None

    @property
    def name(self) -> str:
        """Name of the candidate, ``variant@runtime``."""
        return f"{self.variant}@{self.runtime}"

    @property
    def energy_j(self) -> float:
        """Joules per response."""
        return self.cost.energy_per_response_j

    @property
    def energy_ci_j(self) -> Interval:
        """Confidence interval of the joules."""
        return self.cost.energy_per_response_ci_j

    def metrics(self) -> CandidateMetrics:
        """Return its entry in metrics.json."""
        low_j, high_j = self.energy_ci_j
        return CandidateMetrics(
            name=self.name,
            headline=self.quality.headline.name,
            quality=self.quality.value,
            quality_low=self.quality.interval[0],
            quality_high=self.quality.interval[1],
            origin=self.quality.origin,
            size_bytes=self.size_bytes,
            latency_p50_s=self.cost.latency_p50_s,
            energy_per_response_j=self.energy_j,
            energy_per_response_low_j=low_j,
            energy_per_response_high_j=high_j,
            samples=self.cost.samples,
            measured=self.cost.measured,
        )

    def to_json(self) -> dict[str, Any]:
        """Return its entry in comparison.json, with all measurements."""
        loading = {} if self.loading is None else asdict(self.loading)
        return {
            **self.quality.to_json(),
            "size_bytes": self.size_bytes,
            **{name: figure for name, figure in loading.items() if figure is not None},
            **self.cost.to_json(),
        }

    def describe(self) -> str:
        """Return its figures in one line."""
        parts = [self.quality.describe(), self.cost.describe(), format_bytes(self.size_bytes)]
        if self.loading is not None:
            memory = format_bytes(self.loading.peak_memory_bytes)
            parts.append(f"loads in {self.loading.load_s:.2f} s and {memory} of memory")
            if self.loading.peak_gpu_memory_bytes is not None:
                parts.append(f"{format_bytes(self.loading.peak_gpu_memory_bytes)} of the GPU's")
        return f"{self.name}: " + "; ".join([*parts, *(f"too bad: {each}" for each in self.quality.broken_limits)])
