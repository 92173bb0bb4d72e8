"""The models of a running server, from its status and its metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from overwinter.errors import OverwinterError
from overwinter.report.page.content import ServedModel

_WAITS = "overwinter_wait_seconds"
_QUANTILE = 0.95


def served_models(status: Mapping[str, Any], metrics: str) -> tuple[ServedModel, ...]:
    """Return the models of a server.

    Args:
        status: The content of its `/overwinter/status`.
        metrics: The text of its `/metrics`.

    Raises:
        OverwinterError: these are not a server's of this version.
    """
    try:
        return tuple(_model(name, each, metrics) for name, each in status["models"].items())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OverwinterError(f"The server's status cannot be read ({error!r}). Is it of another version?") from None


def _model(name: str, status: Mapping[str, Any], metrics: str) -> ServedModel:
    saved = status["saved_j"] or {"value": None, "standard_uncertainty": None}
    return ServedModel(
        name=name,
        state=status["state"],
        why=status["why"],
        requests=status["requests"],
        wakes=status["wakes"],
        crashes=status["crashes"],
        state_s=status["state_s"],
        energy_j=status["energy_j"],
        energy_basis=status["energy_basis"],
        saved_j=saved["value"],
        saved_uncertainty_j=saved["standard_uncertainty"],
        wait_p95_s=_quantile_bound(list(_buckets(metrics, name))),
    )


def _buckets(metrics: str, model: str) -> Iterator[tuple[float, float]]:
    """Yield the upper end and the cumulated count of each bucket of a model's waits."""
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(metrics):
        for sample in family.samples if family.name == _WAITS else ():
            if sample.name == f"{_WAITS}_bucket" and sample.labels.get("model") == model:
                yield float(sample.labels["le"]), sample.value


def _quantile_bound(buckets: list[tuple[float, float]]) -> float | None:
    """Return the upper end of the bucket in which the quantile lies; None without observations."""
    count = max((count for _, count in buckets), default=0.0)
    if not count:
        return None
    return min((end for end, below in buckets if below >= _QUANTILE * count), default=math.inf)
