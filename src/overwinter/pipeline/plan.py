"""The plan of a run: the stages that would run, and why, from dvc.lock and `dvc status`. Nothing runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.config import Config, Project, compose, validate
from overwinter.config.changes import at, differences
from overwinter.config.composition import read_parameters
from overwinter.data.local_files import remote_versions
from overwinter.documents import MAX_LOCK_BYTES, read_yaml
from overwinter.errors import OverwinterError
from overwinter.files import read_json
from overwinter.pipeline.locks import repair_dvc_lock, repair_dvc_rwlock
from overwinter.pipeline.render import rendered_stages, versions_out


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of dvc.yaml.

    Attributes:
        name: The name of a stage, a gate or the check.
        runs: Whether `dvc repro` would run it, or restore it if it ran before on the same inputs.
        reasons: The reasons to run, in words; empty if it does not run.
        follows: The reasons that only name an earlier stage.
    """

    name: str
    runs: bool
    reasons: tuple[str, ...]
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PipelinePlan:
    """The stages that `dvc repro` would run after composing.

    Attributes:
        config: The composed configuration.
        params: The text of its params.yaml.
        parameters: The content of that text.
        stages: All stages, in the pipeline's order.
    """

    config: Config
    params: str
    parameters: Mapping[str, Any]
    stages: tuple[PlannedStage, ...]


def make_plan(project: Project, overrides: Sequence[str] = ()) -> PipelinePlan:
    """Compose without writing, and return for each stage whether it would run.

    Raises:
        ConfigError: the configuration is invalid.
        OverwinterError: dvc cannot report the state of the files.
    """
    text = compose(project, overrides)
    config = validate(text)
    stages = rendered_stages(config, project)
    locked, changed = _lock(project.root / "dvc.lock"), _changed_files(project)
    parameters = read_parameters(text)
    made_by = {out: name for name, stage in stages.items() for out in _outs(stage)}
    planned: dict[str, PlannedStage] = {}
    moved = _moved(config, project)
    for name, stage in stages.items():
        reasons = _own_reasons(stage, locked.get(name), changed.get(name, {}), parameters, made_by)
        if name in locked:
            reasons += dict.fromkeys(reason for out in stage["deps"] for reason in moved.get(out, ()))
        follows = [f"{need} runs" for need in _upstream(stage, made_by) if planned[need].runs and _passes_on(need)]
        planned[name] = PlannedStage(
            name=name, runs=bool(reasons + follows), reasons=(*reasons, *follows), follows=tuple(follows)
        )
    return PipelinePlan(config=config, params=text, parameters=parameters, stages=tuple(planned.values()))


def _moved(config: Config, project: Project) -> dict[str, list[str]]:
    """Return which fsspec addresses hold something else than when the check last looked, by the file with versions."""
    moved = {}
    for group, versions in remote_versions(config).items():
        known = project.root / versions_out(group)
        before = read_json(known, remedy="Run `dvc repro check`.") if known.exists() else {}
        moved[versions_out(group)] = [
            f"{place} is modified" for place, found in versions.items() if before.get(place) != found
        ]
    return moved


def _own_reasons(
    stage: Mapping[str, Any],
    locked: Mapping[str, Any] | None,
    changed: Mapping[str, str],
    parameters: Mapping[str, Any],
    made_by: Mapping[str, str],
) -> list[str]:
    if locked is None:
        return ["has not run yet"]
    reasons = [] if stage["cmd"] == locked["cmd"] else [f"its command is now `{stage['cmd']}`"]
    known = {item["path"] for item in locked.get("deps", [])}
    reasons += [f"{path} is a new dependency" for path in stage["deps"] if path not in known]
    reasons += _changed_parameters(stage.get("params", []), locked, parameters)
    reasons += [f"{path} is {state}" for path, state in changed.items() if path in known and path not in made_by]
    outs = _outs(stage)
    return reasons + [f"{path} is {state}" for path, state in changed.items() if path in outs]


def _changed_parameters(names: Sequence[Any], locked: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    before = locked.get("params", {}).get("params.yaml", {})
    if any(isinstance(name, dict) for name in names):  # the whole file
        names = sorted({*before, *parameters})
    reasons: list[str] = []
    for name in names:
        reasons += differences(name, at(before, name), at(parameters, name))
    return reasons


def _upstream(stage: Mapping[str, Any], made_by: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(made_by[path] for path in stage["deps"] if path in made_by))


def _passes_on(name: str) -> bool:
    """Return whether stages that depend on it run again: the outputs of the check and the gates are constant."""
    return name != "check" and not name.startswith("gate-")


def _outs(stage: Mapping[str, Any]) -> list[str]:
    items = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def _lock(path: Path) -> dict[str, Any]:
    content = read_yaml(path, max_bytes=MAX_LOCK_BYTES) if path.exists() else {}
    stages = content.get("stages") if isinstance(content, dict) else None
    return stages if isinstance(stages, dict) else {}


def _changed_files(project: Project) -> dict[str, dict[str, str]]:
    """Return, per stage, path -> `modified`, `deleted` or `new`, by content."""
    repair_dvc_rwlock(project.root)
    repair_dvc_lock(project.root)
    if not (project.root / "dvc.lock").exists():
        return {}
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    status = subprocess.run(
        command, cwd=project.root, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    if status.returncode != 0:
        raise OverwinterError(f"dvc cannot report the state of {project.root}: {status.stderr.strip()}")
    changed: dict[str, dict[str, str]] = {}
    for name, entries in json.loads(status.stdout or "{}").items():
        for entry in (entry for entry in entries if isinstance(entry, dict)):
            for paths in entry.values():
                files = {path: state for path, state in paths.items() if isinstance(state, str)}
                changed.setdefault(name, {}).update(files)
    return changed
