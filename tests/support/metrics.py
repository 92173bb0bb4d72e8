"""Figures of a candidate in evaluate's metrics.json, for tests of what reads them."""

from typing import Any

from overwinter.metrics import CandidateMetrics

_FIGURES = {
    "headline": "accuracy",
    "quality": 0.9,
    "size_bytes": 7,
    "latency_p50_s": 0.1,
    "energy_per_response_j": 1.0,
    "energy_per_response_low_j": 0.9,
    "energy_per_response_high_j": 1.1,
    "measured": False,
}


def candidate_metrics(name: str, **changes: Any) -> CandidateMetrics:
    """Return the figures of one candidate; a test names what it changes."""
    return CandidateMetrics(name=name, **_FIGURES | changes)
