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

_BY_DVC = "dvc repro"  # in the commit, whose params.yaml and configs/ belong together
_DIGEST = "configs_digest"
_RUN = ["overwinter", "run"]


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


def outdated(stages: Sequence[StageFigures], records: Sequence[ExecutionRecord]) -> dict[str, tuple[str, ...]]:
    """Return the stages whose present results were made from other results than the present ones of earlier stages.

    That is so while a run is under way, and after one that stopped between two stages.

    Args:
        stages: The stages, in order.
        records: The ledger's executions.

    Returns:
        Stage -> the stages whose results it should have read.
    """
    by_id = {record.id: record for record in records}
    present = {each.stage: by_id[each.execution] for each in stages if each.execution in by_id}
    found: dict[str, tuple[str, ...]] = {}
    for stage, record in present.items():
        others = [
            name
            for name, digest in (record.inputs or {}).items()
            if name in found or (name in present and present[name].artifact_digest != digest)
        ]
        if others:
            found[stage] = tuple(others)
    return found


def remaking_command(project: Project) -> str:
    """Return `overwinter run` with the overrides that compose the project's params.yaml.

    If no overrides do, as after a change of configs/, it is `dvc repro`.
    """
    try:
        present = read_parameters(project.params.read_text(encoding="utf-8"))
        plain = read_parameters(compose(project))
        if plain.get(_DIGEST) != present.get(_DIGEST):
            return _BY_DVC
        choices = _choices(project, plain, present)
        composed = read_parameters(compose(project, choices))
        overrides = [*choices, *_overrides("", composed, present)]
        if overrides and read_parameters(compose(project, overrides)) != present:
            return _BY_DVC
    except (OSError, OverwinterError):
        return _BY_DVC
    return shlex.join([*_RUN, *overrides])


def amended(made_by: str, command: str) -> str:
    """Return a command that changes the overrides of the one that made the present results.

    Args:
        made_by: The command that made them, as of `remaking_command`.
        command: `overwinter run` with the overrides to change; another command stays as it is.
    """
    base, words = shlex.split(made_by), shlex.split(command)
    if base[:2] != _RUN or words[:2] != _RUN or any(word.startswith("-") for word in words[2:]):
        return command
    changed = {_key(word) for word in words[2:]}
    kept = [word for word in base[2:] if not any(f"{_key(word)}.".startswith(f"{key}.") for key in changed)]
    return shlex.join([*_RUN, *kept, *words[2:]])


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _choices(project: Project, composed: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return an override for each group whose settings are those of another option, such as `sparsify=none`."""
    found = []
    for group, settings in present.items():
        changed = list(_overrides(group, composed.get(group), settings))
        if not any(each.startswith(("+", "~")) for each in changed):
            continue  # the same option, with other values
        left: dict[str | None, int] = {None: len(changed)}
        for path in sorted((project.configs / group).glob("*.yaml")):
            try:
                other = read_parameters(compose(project, [f"{group}={path.stem}"]))
            except OverwinterError:
                continue
            left[path.stem] = len(list(_overrides(group, other.get(group), settings)))
        option = min(left, key=lambda name: left[name])
        found += [f"{group}={option}"] if option is not None else []
    return found


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
