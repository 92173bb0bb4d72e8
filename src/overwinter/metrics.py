"""Records of a stage's metrics: metrics.json, and the evaluate stage's comparison.json and chosen.json.

metrics.json contains the few numbers worth comparing (`ModelMetrics`; for evaluate `EvaluationMetrics`), which keeps
`dvc exp show` readable. comparison.json contains all measurements of every candidate (`Comparison`). The next stage
reads from chosen.json which candidate to serve (`Chosen`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from overwinter.files import read_json
from overwinter.records import inlined, named_by, parse_record


@dataclass(frozen=True, kw_only=True)
class ModelMetrics:
    """Metrics of a stage that produces a model; None: not reported by the stage.

    Attributes:
        headline: name of the task's headline measure.
        measures: the task's measures on the validation split; each is a key of its own in the file.
        loss: loss on the validation split.
        origin: origin of the dense model, if it is not the trained one.
        epochs: number of epochs that were run.
        to: the target of the training, a measure and its value on the validation split, if it had one.
        reached: whether the training reached it.
        parameters: number of parameters.
        trained_parameters: number of those that were trained, if others stayed frozen beside adapters.
        parameters_dense: number of the dense model's parameters, if some may have been removed.
        sparsity: share of zeros among the prunable weights.
        size_bytes: size on disk.
        wake_duration_s: time from a fresh process to the first response.
        training_flops: floating-point operations of a training that was sparse from the start, if zeros are skipped.
        training_flops_dense: those of the same steps with every weight.
    """

    headline: str | None = None
    measures: Mapping[str, float] | None = inlined()
    loss: float | None = None
    origin: str | None = None
    epochs: int | None = None
    to: Mapping[str, float] | None = None
    reached: bool | None = None
    parameters: int | None = None
    trained_parameters: int | None = None
    parameters_dense: int | None = None
    sparsity: float | None = None
    size_bytes: int | None = None
    wake_duration_s: float | None = None
    training_flops: int | None = None
    training_flops_dense: int | None = None

    @property
    def quality(self) -> float | None:
        """The headline measure on the validation split; None if the stage reports none."""
        return None if self.headline is None or self.measures is None else self.measures.get(self.headline)


@dataclass(frozen=True, kw_only=True)
class CandidateMetrics:
    """Metrics of a candidate in metrics.json.

    Attributes:
        name: VARIANT@RUNTIME.
        headline: name of the task's headline measure.
        quality: the headline measure on the test split, in the file under its own name.
        quality_low: lower bound of its confidence interval; None in files of older versions.
        quality_high: upper bound of its confidence interval.
        origin: as in `ModelMetrics`.
        size_bytes: size of the files that the runtime loads.
        latency_p50_s: median latency of a call.
        energy_per_response_j: joules per response at the decisive batch size.
        energy_per_response_low_j: lower bound of its confidence interval.
        energy_per_response_high_j: upper bound of its confidence interval.
        samples: number of samples that this interval comes from; None in files of older versions.
        measured: whether counters measured all joules; otherwise some are modelled.
    """

    name: str
    headline: str
    quality: float = named_by("headline")
    quality_low: float | None = None
    quality_high: float | None = None
    origin: str | None = None
    size_bytes: int
    latency_p50_s: float
    energy_per_response_j: float
    energy_per_response_low_j: float
    energy_per_response_high_j: float
    samples: int | None = None
    measured: bool


# What a measure cannot be named, since measures stand beside these in metrics.json.
RESERVED = frozenset(field.name for schema in (ModelMetrics, CandidateMetrics) for field in fields(schema))


@dataclass(frozen=True, kw_only=True)
class EvaluationMetrics:
    """Metrics of the evaluate stage: what was there before against the chosen candidate.

    Attributes:
        dense: the dense model on its best runtime.
        given: the file that the model came in, on its best runtime, if that uses fewer joules than dense; else None.
        chosen: the candidate to serve.
        pays: whether it uses fewer joules than the reference, beyond both intervals.
        saving: share of the reference's joules per response that is saved.
        size_ratio: the reference's size divided by the chosen one's.
        device: device of the measurements.
        batch_size: batch size whose joules decided; None for generated text.
        prompt_tokens: tokens read in a response, of a task that generates.
        written_tokens: tokens written in a response, of a task that generates.
    """

    dense: CandidateMetrics
    given: CandidateMetrics | None = None
    chosen: CandidateMetrics
    pays: bool
    saving: float
    size_ratio: float
    device: str
    batch_size: int | None = None
    prompt_tokens: int | None = None
    written_tokens: int | None = None

    @property
    def reference(self) -> CandidateMetrics:
        """What the chosen candidate is compared with: the file as it was given, or dense."""
        return self.given or self.dense


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All measurements of every candidate.

    Attributes:
        candidates: VARIANT@RUNTIME -> name -> figure.
    """

    candidates: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The candidate to serve.

    Attributes:
        variant: variant of the model.
        runtime: runtime that executes it.
        device: device of the measurements.
    """

    variant: str
    runtime: str
    device: str


def evaluation_metrics(content: Mapping[str, Any], *, where: str, remedy: str) -> EvaluationMetrics | None:
    """Return the evaluate stage's metrics from the content of a metrics.json; None for other stages.

    Args:
        content: the parsed JSON.
        where: the file's name, for error messages.
        remedy: next step for the error message.

    Raises:
        IntegrityError: a figure is missing or has the wrong type.
    """
    if "dense" not in content or "chosen" not in content:
        return None
    return parse_record(EvaluationMetrics, content, where=where, remedy=remedy)


def read_metrics(path: Path, *, remedy: str) -> EvaluationMetrics | ModelMetrics:
    """Read a metrics.json of the evaluate stage or of a stage that produces a model.

    Raises:
        IntegrityError: the file is missing or unreadable, or a figure is missing or has the wrong type.
    """
    content = read_json(path, remedy=remedy)
    evaluation = evaluation_metrics(content, where=str(path), remedy=remedy) if isinstance(content, dict) else None
    return evaluation or parse_record(ModelMetrics, content, where=str(path), remedy=remedy)
