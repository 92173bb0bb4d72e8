"""What a stage says of its model: metrics.json, and comparison.json and chosen.json of the stage evaluate.

metrics.json holds the few numbers that people compare (`ModelMetrics`; of evaluate `EvaluationMetrics`), so that `dvc
exp show` can be read; everything that was measured of every candidate is in comparison.json (`Comparison`). The next
stage reads what is to be served from chosen.json (`Chosen`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.files import read_json
from overwinter.records import parse_record


@dataclass(frozen=True, kw_only=True)
class ModelMetrics:
    """The metrics of a stage that leaves a model. What a stage does not say is None.

    Attributes:
        accuracy: on the validation split.
        perplexity: of a language model, on the validation split.
        loss: on the validation split.
        origin: what dense is, where it is not the model as it was trained.
        epochs: that were run.
        parameters: of the model.
        parameters_dense: of the dense model, where parameters may have gone.
        sparsity: share of zeros among the prunable weights.
        size_bytes: on disk.
        wake_duration_s: from a fresh process to the first response.
    """

    accuracy: float | None = None
    perplexity: float | None = None
    loss: float | None = None
    origin: str | None = None
    epochs: int | None = None
    parameters: int | None = None
    parameters_dense: int | None = None
    sparsity: float | None = None
    size_bytes: int | None = None
    wake_duration_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class CandidateMetrics:
    """What metrics.json has of a candidate.

    Attributes:
        name: VARIANT@RUNTIME.
        accuracy: on the test split; None of a language model.
        perplexity: on the test split; of a language model only.
        origin: as in `ModelMetrics`.
        size_bytes: of the files that the runtime loads.
        latency_p50_s: of a call.
        energy_per_response_j: at the batch size that decides.
        energy_per_response_low_j: lower bound of its confidence interval.
        energy_per_response_high_j: upper bound.
        measured: whether counters gave all the joules; else some are modelled.
    """

    name: str
    accuracy: float | None = None
    perplexity: float | None = None
    origin: str | None = None
    size_bytes: int
    latency_p50_s: float
    energy_per_response_j: float
    energy_per_response_low_j: float
    energy_per_response_high_j: float
    measured: bool


@dataclass(frozen=True, kw_only=True)
class EvaluationMetrics:
    """The metrics of the stage evaluate: dense against what was chosen.

    Attributes:
        dense: dense at its best runtime.
        chosen: what will be served.
        pays: whether it uses fewer joules than dense, beyond both intervals.
        saving: share of dense's joules per response that is saved.
        size_ratio: dense's size over the chosen one's.
        device: on which was measured.
        batch_size: at which the joules decided; None of a language model.
    """

    dense: CandidateMetrics
    chosen: CandidateMetrics
    pays: bool
    saving: float
    size_ratio: float
    device: str
    batch_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that was measured of every candidate.

    Attributes:
        candidates: VARIANT@RUNTIME -> name -> figure.
    """

    candidates: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is to be served.

    Attributes:
        variant: of the model.
        runtime: that runs it.
        device: on which it was measured.
    """

    variant: str
    runtime: str
    device: str


def evaluation_metrics(content: Mapping[str, Any], *, where: str, remedy: str) -> EvaluationMetrics | None:
    """Make the record of what a metrics.json holds, if it has dense against chosen; None of other stages.

    Args:
        content: what JSON holds.
        where: the file, for a message.
        remedy: what the reader of an error should do.

    Raises:
        IntegrityError: a figure is missing, or not of its type.
    """
    if "dense" not in content or "chosen" not in content:
        return None
    return parse_record(EvaluationMetrics, content, where=where, remedy=remedy)


def read_metrics(path: Path, *, remedy: str) -> EvaluationMetrics | ModelMetrics:
    """Read a metrics.json: of evaluate, or of a stage that leaves a model.

    Raises:
        IntegrityError: it is missing or unreadable, or lacks a figure, or one is not of its type.
    """
    content = read_json(path, remedy=remedy)
    evaluation = evaluation_metrics(content, where=str(path), remedy=remedy) if isinstance(content, dict) else None
    return evaluation or parse_record(ModelMetrics, content, where=str(path), remedy=remedy)
