"""One side of a comparison: the parameters, energy records and metrics of a run, and what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from overwinter.comparison.lock import Lock, read_lock
from overwinter.comparison.sources import Source
from overwinter.config.changes import ABSENT, at, differences
from overwinter.config.composition import read_parameters
from overwinter.config.groups.pipeline import StageSpec, in_order
from overwinter.documents import check_yaml
from overwinter.energy import EnergyRecord
from overwinter.energy.record import ENERGY_FILE
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.metrics import Comparison, EvaluationMetrics, ModelMetrics, evaluation_metrics
from overwinter.records import parse_record

T = TypeVar("T")
_METRICS, _REPORT, _COMPARISON = "metrics.json", "gate_report.json", "comparison.json"
_STAGE = re.compile(r"[\w-]+")  # it becomes part of a path
_NAMED = 3  # changed parameters that a note names
Fetch = Callable[[str], bytes | None]
"""Returns the content of a file in DVC's cache by its MD5; None if it is not there."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one side of a comparison consists of. What is missing is left out.

    Attributes:
        title: Its name for people.
        params: The content of params.yaml; None if it is not known.
        energy: Stage -> its energy record, in the pipeline's order.
        models: Stage -> the metrics of its model.
        evaluation: The metrics of the stage that chose the variant to serve.
        evaluation_stage: That stage.
        candidates: The content of comparison.json.
        notes: What to know when reading the figures.
        stale: Why the figures are not those of the side's parameters; empty if they are.
    """

    title: str
    params: Mapping[str, Any] | None = None
    energy: Mapping[str, EnergyRecord] = field(default_factory=dict)
    models: Mapping[str, ModelMetrics] = field(default_factory=dict)
    evaluation: EvaluationMetrics | None = None
    evaluation_stage: str | None = None
    candidates: Mapping[str, Mapping[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compare."""
        return not self.energy and not self.models and self.evaluation is None

    def setting(self, key: str) -> Any:
        """Return the value of a dotted key; None if it is not set."""
        value = at(self.params or {}, key)
        return None if value is ABSENT else value


def read_side(source: Source, fetch: Fetch) -> Side:
    """Read a run's files.

    Args:
        source: The place of the files.
        fetch: Reader of DVC's cache, which holds comparison.json.

    Raises:
        OverwinterError: the source has no metrics of a run.
    """
    top = source.read(("params.yaml", "dvc.lock"))
    notes: list[str] = []
    params = _parameters(top.get("params.yaml"), source, notes)
    stages = _stages(params) or source.stages()
    files = source.read(f"outputs/{stage}/{name}" for stage in stages for name in (_METRICS, ENERGY_FILE, _REPORT))
    documents = _documents(files, source, notes)
    lock = read_lock(top.get("dvc.lock"))
    side = assemble(source.title, stages, documents, params=params, notes=notes)
    if side.is_empty:
        raise OverwinterError(
            f"{source.title} has no metrics of a run: outputs/ has no readable metrics.json or energy.json there. Run "
            "`overwinter run` there and commit outputs/ and dvc.lock."
        )
    return _finished(side, source, lock, fetch)


def assemble(
    title: str,
    stages: Iterable[str],
    documents: Mapping[str, Any],
    *,
    params: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
) -> Side:
    """Return a side made of parsed documents.

    Args:
        title: Its name for people.
        stages: The pipeline's stages, in order.
        documents: `outputs/STAGE/FILE` -> parsed JSON of metrics.json, energy.json and gate_report.json.
        params: The content of params.yaml.
        notes: Notes so far.
    """
    found = list(notes)
    energy: dict[str, EnergyRecord] = {}
    models: dict[str, ModelMetrics] = {}
    evaluations: dict[str, EvaluationMetrics] = {}
    for stage in stages:
        paths = {name: f"outputs/{stage}/{name}" for name in (_METRICS, ENERGY_FILE, _REPORT)}
        if record := _record(EnergyRecord, documents.get(paths[ENERGY_FILE]), paths[ENERGY_FILE], title, found):
            energy[stage] = record
        metrics = documents.get(paths[_METRICS])
        if isinstance(metrics, dict) and "dense" in metrics and "chosen" in metrics:
            if evaluation := _evaluation(metrics, paths[_METRICS], title, found):
                evaluations[stage] = evaluation
        elif model := _record(ModelMetrics, metrics, paths[_METRICS], title, found):
            models[stage] = model
        report = documents.get(paths[_REPORT])
        if isinstance(report, dict) and report.get("passed") is False:
            found.append(f"{title}: the gate after {stage} refused this run")
    last = next(reversed(evaluations), None)
    return Side(
        title=title,
        params=params,
        energy=energy,
        models=models,
        evaluation=evaluations[last] if last else None,
        evaluation_stage=last,
        notes=tuple(found),
    )


def _finished(side: Side, source: Source, lock: Lock, fetch: Fetch) -> Side:
    notes, candidates = list(side.notes), None
    if side.evaluation_stage is not None:
        candidates = _candidates(side.evaluation_stage, source, lock, fetch)
        if candidates is None:
            notes.append(
                f"{side.title}: comparison.json is not at hand, so measures besides the headline are left out; `dvc "
                "pull` or `dvc fetch --all-commits` brings it"
            )
    stale = _stale(side, lock)
    notes += stale
    return Side(**{**vars(side), "candidates": candidates, "notes": tuple(notes), "stale": tuple(stale)})


def _stale(side: Side, lock: Lock) -> list[str]:
    """Return why the figures are not of these parameters: dvc.lock has others, or an earlier stage has run since."""
    measured = [stage for stage in side.energy if stage in lock.stages]
    changed: dict[str, None] = {}
    for stage in measured:
        for name, value in lock.parameters(stage).items():
            changed.update(dict.fromkeys(differences(name, value, at(side.params or {}, name))))
    remedy = "run `overwinter run` and commit its outputs"
    notes = []
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        named = "; ".join(list(changed)[:_NAMED]) + more
        notes.append(f"{side.title}: params.yaml has changed since the outputs were made ({named}); {remedy}")
    notes += [
        f"{side.title}: {stage} has not run since {', '.join(earlier)} did; {remedy}"
        for stage in measured
        if (earlier := lock.outdated(stage))
    ]
    return notes


def _candidates(stage: str, source: Source, lock: Lock, fetch: Fetch) -> Mapping[str, Mapping[str, Any]] | None:
    path = f"outputs/{stage}/{_COMPARISON}"
    content = source.read((path,)).get(path)
    if content is None and (md5 := lock.md5(path)) is not None:
        content = fetch(md5)
        if content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            content = None
    try:
        record = parse_record(Comparison, json.loads(content or "null"), where=path, remedy="")
    except (ValueError, IntegrityError):
        return None
    return {name: each for name, each in record.candidates.items() if isinstance(each, Mapping)}


def _parameters(content: bytes | None, source: Source, notes: list[str]) -> Mapping[str, Any] | None:
    import yaml

    where = f"{source.title}: params.yaml"
    if content is None:
        notes.append(f"{where} is missing, so changed parameters are not known")
        return None
    try:
        check_yaml(content, where=where)
        loaded = read_parameters(content.decode())
    except (yaml.YAMLError, ValueError, ConfigError):
        loaded = {}
    if loaded:
        return {str(key): value for key, value in loaded.items()}
    notes.append(f"{where} cannot be read, so changed parameters are not known")
    return None


def _stages(params: Mapping[str, Any] | None) -> list[str]:
    """Return the pipeline's stages in the order in which they run; empty if params.yaml of this version has none."""
    found = at(params or {}, "pipeline.stages")
    if not isinstance(found, dict):
        return []
    named = {name: spec for name, spec in found.items() if isinstance(name, str) and _STAGE.fullmatch(name)}
    needs = {name: spec.get("needs") if isinstance(spec, dict) else None for name, spec in named.items()}
    specs = {name: StageSpec(needs=each if isinstance(each, list) else [], params=[]) for name, each in needs.items()}
    return list(in_order(specs))


def _documents(files: Mapping[str, bytes], source: Source, notes: list[str]) -> dict[str, Any]:
    documents: dict[str, Any] = {}
    for path, content in files.items():
        try:
            documents[path] = json.loads(content)
        except ValueError:
            notes.append(f"{source.title}: {path} is not JSON and is left out")
    return documents


def _record(schema: type[T], content: Any, path: str, title: str, notes: list[str]) -> T | None:
    if content is None:
        return None
    try:
        return parse_record(schema, content, where=path, remedy="")
    except IntegrityError as error:
        notes.append(_left_out(title, error))
        return None


def _evaluation(content: Mapping[str, Any], path: str, title: str, notes: list[str]) -> EvaluationMetrics | None:
    try:
        return evaluation_metrics(content, where=path, remedy="")
    except IntegrityError as error:
        notes.append(_left_out(title, error))
        return None


def _left_out(title: str, error: IntegrityError) -> str:
    return f"{title}: left out, since another version wrote it: {str(error).strip().rstrip('.')}"
