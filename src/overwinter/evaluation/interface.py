"""What a candidate consists of: how good its responses are, and what they cost.

`Quality` and `BatchCost` are those of classifiers, `TextQuality` and `TextCost` those of language models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from overwinter.evaluation.figures import Interval


class CandidateQuality(Protocol):
    """How good a candidate's responses are."""

    @property
    def score(self) -> float:
        """More is better: what a limit on the loss of quality is held against."""

    @property
    def headline(self) -> Mapping[str, Any]:
        """The one measure that metrics.json has, by its name."""

    @property
    def broken_limits(self) -> tuple[str, ...]:
        """In words; a candidate that breaks one is not chosen."""

    def brief(self) -> str:
        """Say the headline in a few words."""

    def describe(self) -> str:
        """Say it with what is uncertain about it."""

    def loss(self) -> str:
        """Say how much may have been lost against dense."""

    def to_json(self) -> dict[str, Any]:
        """Return all measures."""


class CandidateCost(Protocol):
    """What a response of a candidate costs."""

    @property
    def latency_p50_s(self) -> float:
        """Of a call."""

    @property
    def energy_per_response_j(self) -> float:
        """Joules of the CPU, and of the GPU where one computes."""

    @property
    def energy_per_response_ci_j(self) -> Interval:
        """Confidence interval of the joules."""

    @property
    def measured(self) -> bool:
        """Whether counters gave all the joules."""

    @property
    def quiet(self) -> bool:
        """Whether nothing else used the cores meanwhile."""

    def brief(self) -> str:
        """Say the joules per response, and where they are from."""

    def describe(self) -> str:
        """Say it with latency and throughput."""

    def to_json(self) -> dict[str, Any]:
        """Return all figures."""
