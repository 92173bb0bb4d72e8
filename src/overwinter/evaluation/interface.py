"""Interface of a candidate's cost: `BatchCost` of forward passes, `GenerationCost` of generated text."""

from __future__ import annotations

from typing import Any, Protocol

from overwinter.evaluation.figures import Interval


class CandidateCost(Protocol):
    """Cost of a candidate's responses."""

    @property
    def batch_size(self) -> int | None:
        """Batch size whose joules decide; None for generated text."""

    @property
    def shape_tokens(self) -> tuple[int, int] | None:
        """Tokens read and written in a response; None if it is no generated text."""

    @property
    def latency_p50_s(self) -> float:
        """Median latency of a call."""

    @property
    def energy_per_response_j(self) -> float:
        """Joules of the CPU, and of the GPU if one computes."""

    @property
    def energy_per_response_ci_j(self) -> Interval:
        """Confidence interval of the joules."""

    @property
    def samples(self) -> int:
        """The number of samples that the interval comes from."""

    @property
    def measured(self) -> bool:
        """True if counters gave all the joules."""

    @property
    def quiet(self) -> bool:
        """True if no other process used the cores during the used samples."""

    def brief(self) -> str:
        """Return the joules per response and their origin, in words."""

    def describe(self) -> str:
        """Return joules, latency and throughput in words."""

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
