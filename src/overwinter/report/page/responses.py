"""Dense against compressed, from evaluate's metrics.json and comparison.json, and when compressing has paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.budget import Budget
from overwinter.budget.saving import responses_to_earn
from overwinter.errors import IntegrityError
from overwinter.metrics import CandidateMetrics, Comparison, EvaluationMetrics, read_metrics
from overwinter.records import read_record
from overwinter.report.page.content import Candidate, Payback, Responses, StageFigures
from overwinter.tasks import Measure


def read_evaluation(outputs: Path, stages: Sequence[StageFigures]) -> tuple[str, EvaluationMetrics] | None:
    """Return the stage that compared candidates and its metrics; None if none did, or its result is not of this run."""
    for stage in stages:
        if stage.energy_j is None:
            continue
        try:
            metrics = read_metrics(outputs / stage.stage / "metrics.json", remedy="")
        except IntegrityError:
            continue
        if isinstance(metrics, EvaluationMetrics):
            return stage.stage, metrics
    return None


def read_responses(folder: Path, evaluation: EvaluationMetrics, headline: Measure | None) -> Responses:
    """Return the comparison of dense and compressed models.

    Args:
        folder: The folder of the stage that compared them.
        evaluation: Its metrics.
        headline: The task's headline measure; None: unknown.
    """
    dense, reference, chosen = evaluation.dense, evaluation.reference, evaluation.chosen
    given = [] if evaluation.given is None else [(evaluation.given, "given")]
    name = chosen.headline
    found = {each.name: _plain(each, role) for each, role in ((dense, "dense"), *given, (chosen, "chosen"))}
    for title, figures in _comparison(folder / "comparison.json").items():
        role = found[title].role if title in found else ""
        if (measured := _candidate(title, role, name, figures)) is not None:
            found[title] = measured
    known = headline if headline is not None and headline.name == name else None
    return Responses(
        stage=folder.name,
        headline=name.replace("_", " ") if known is None else known.title,
        per_cent=known is not None and known.in_per_cent,
        candidates=tuple(sorted(found.values(), key=lambda each: each.energy_per_response_j)),
        reference=reference.name,
        pays=evaluation.pays,
        saving=evaluation.saving,
        saving_low=1 - chosen.energy_per_response_high_j / reference.energy_per_response_low_j,
        saving_high=1 - chosen.energy_per_response_low_j / reference.energy_per_response_high_j,
        size_ratio=evaluation.size_ratio,
        device=evaluation.device,
        batch_size=evaluation.batch_size,
        measured=reference.measured and chosen.measured,
    )


def payback_of(budget: Budget, evaluation: EvaluationMetrics, stages: Sequence[StageFigures]) -> Payback:
    """Return after how many responses compressing is earned back."""
    counted = [stage for stage in stages if stage.stage in budget.payback.stages and stage.energy_j is not None]
    spent_j = sum(stage.energy_j or 0.0 for stage in counted)
    likely, at_worst = responses_to_earn(evaluation, spent_j)
    return Payback(
        stages=tuple(stage.stage for stage in counted),
        spent_j=spent_j,
        responses=likely,
        responses_at_worst=at_worst,
        responses_per_day=budget.payback.responses_per_day,
    )


def _saved(energy_j: float, of_j: float) -> float:
    """Return the saved share; nothing can be saved of nothing."""
    return 1 - energy_j / of_j if of_j > 0 else 0.0


def _comparison(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        return read_record(Comparison, path, remedy="").candidates
    except IntegrityError:
        return {}


def _plain(metrics: CandidateMetrics, role: str) -> Candidate:
    """Return a candidate from metrics.json alone."""
    return Candidate(
        name=metrics.name,
        role=role,
        quality=metrics.quality,
        quality_low=metrics.quality_low,
        quality_high=metrics.quality_high,
        energy_per_response_j=metrics.energy_per_response_j,
        energy_per_response_low_j=metrics.energy_per_response_low_j,
        energy_per_response_high_j=metrics.energy_per_response_high_j,
        latency_p50_s=metrics.latency_p50_s,
        latency_p95_s=None,
        size_bytes=metrics.size_bytes,
        measured=metrics.measured,
        broken_limits=(),
        at_batch={},
    )


def _candidate(name: str, role: str, headline: str, figures: Mapping[str, Any]) -> Candidate | None:
    """Return a candidate of comparison.json; None if its joules were not measured."""

    def number(key: str, of: Mapping[str, Any] = figures) -> float | None:
        value = of.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def phase(name: str) -> Mapping[str, Any]:
        found = figures.get(name)
        return found if isinstance(found, dict) else {}

    energy_j, low_j, high_j = (number(f"energy_per_response{part}_j") for part in ("", "_low", "_high"))
    if energy_j is None or low_j is None or high_j is None:
        return None
    return Candidate(
        name=name,
        role=role,
        quality=number(headline),
        quality_low=number(f"{headline}_low"),
        quality_high=number(f"{headline}_high"),
        energy_per_response_j=energy_j,
        energy_per_response_low_j=low_j,
        energy_per_response_high_j=high_j,
        latency_p50_s=number("latency_p50_s"),
        latency_p95_s=number("latency_p95_s"),
        size_bytes=number("size_bytes"),
        measured=figures.get("measured") is True,
        broken_limits=tuple(map(str, figures.get("broken_limits") or ())),
        at_batch=_at_batch(figures.get("at_batch")),
        prefill_j_per_token=number("energy_per_token_j", phase("prefill")),
        decode_j_per_token=number("energy_per_token_j", phase("decode")),
    )


def _at_batch(content: Any) -> dict[str, float]:
    if not isinstance(content, dict):
        return {}
    found = {str(size): each.get("energy_per_response_j") for size, each in content.items() if isinstance(each, dict)}
    return {size: float(each) for size, each in found.items() if isinstance(each, int | float)}
