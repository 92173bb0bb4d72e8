"""Interfaces of a candidate's quality and cost.

`Quality` and `BatchCost` implement them for classifiers, `TextQuality` and `TextCost` for language models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from overwinter.evaluation.figures import Interval


class CandidateQuality(Protocol):
    """Quality of a candidate's responses."""

    @property
    def score(self) -> float:
        """Score to which a limit on the loss of quality applies; higher is better."""

    @property
    def headline(self) -> Mapping[str, Any]:
        """Measure for metrics.json, by its name."""

    @property
    def broken_limits(self) -> tuple[str, ...]:
        """Broken limits, in words; a candidate that breaks one is not chosen."""

    def brief(self) -> str:
        """Return the headline in a few words."""

    def describe(self) -> str:
        """Return the headline with its uncertainty."""

    def loss(self) -> str:
        """Return the loss against dense, in words."""

    def to_json(self) -> dict[str, Any]:
        """Return all measures."""


class CandidateCost(Protocol):
    """Cost of a candidate's responses."""

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
