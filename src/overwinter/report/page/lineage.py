"""Where the results of a report come from, and the command that makes them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.comparison.git import Repository
from overwinter.config import Project, compose
from overwinter.config.composition import read_parameters
from overwinter.energy.record import ENERGY_FILE, find_energy
from overwinter.errors import OverwinterError
from overwinter.ledger import ExecutionRecord
from overwinter.report.page.content import Lineage, StageFigures

_BY_DVC = "dvc repro"  # runs what params.yaml says, whatever configs/ composes


def lineage_of(project: Project, stages: Sequence[StageFigures], records: Sequence[ExecutionRecord]) -> Lineage:
    """Return where the present results come from.

    Args:
        project: The project.
        stages: The stages.
        records: The ledger's executions.
    """
    made_by = {stage.execution: stage.stage for stage in stages if stage.execution is not None}
    digests = {
        made_by[each.id]: each.artifact_digest for each in records if each.id in made_by and each.artifact_digest
    }
    made = _bundle_lineage(project.outputs)
    if data := made.get("data_sha256"):
        digests = {"data": str(data), **digests}
    energies = (find_energy(project.outputs / stage.stage / ENERGY_FILE) for stage in stages)
    return Lineage(
        command=remaking_command(project),
        commit=_commit(project.root),
        digests=digests,
        version=str(made["overwinter"]) if "overwinter" in made else None,
        machine=next((each.machine for each in energies if each is not None and each.machine), None),
    )


def remaking_command(project: Project) -> str:
    """Return `overwinter run` with the overrides that compose the project's params.yaml.

    If no overrides of single settings do, as after another choice of a group, it is `dvc repro`.
    """
    try:
        present = read_parameters(project.params.read_text(encoding="utf-8"))
        composed = read_parameters(compose(project))
        overrides = list(_overrides("", composed, present))
        if overrides and read_parameters(compose(project, overrides)) != present:
            return _BY_DVC
    except (OSError, OverwinterError):
        return _BY_DVC
    return shlex.join(["overwinter", "run", *overrides])


def _overrides(key: str, old: Any, new: Any) -> Iterator[str]:
    """Yield an override for each setting that differs."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in new:
            if name in old:
                yield from _overrides(f"{key}.{name}" if key else str(name), old[name], new[name])
            else:
                yield f"+{key}.{name}={_in_hydra(new[name])}" if key else f"+{name}={_in_hydra(new[name])}"
        yield from (f"~{key}.{name}" if key else f"~{name}" for name in old if name not in new)
        return
    yield f"{key}={_in_hydra(new)}"


def _in_hydra(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_in_hydra(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_in_hydra, value)) + "]"
    if isinstance(value, str):
        plain = value.replace("_", "").replace(".", "").replace("-", "")
        return value if plain.isalnum() and not plain[0].isdigit() else json.dumps(value)
    return json.dumps(value)


def _bundle_lineage(outputs: Path) -> Mapping[str, Any]:
    for path in sorted(outputs.glob("*/bundle/bundle.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("lineage")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(found, dict):
            return found
    return {}


def _commit(root: Path) -> str | None:
    try:
        repository = Repository(root)
        commit = repository.commit("HEAD")
        changed = ", changed since" if commit and repository.is_changed() else ""
    except OverwinterError:
        return None
    return None if commit is None else f"{commit}{changed}"
