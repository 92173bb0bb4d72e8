"""Prefix keys: digests of all that determines a stage's result and is known before anything runs.

A configuration key (`identity`) contains the results of the earlier stages, so it is known only once they exist. A
prefix key contains the *prefix keys* of the earlier stages instead. So whole chains of stages are recognized without
running: two points of a sweep share a stage if their keys are equal, and a stage with the key of a finished execution
is restored from DVC's cache.

A key covers what DVC looks at before it runs a stage: command, parameters, paths of dependencies and outputs, and the
content of each dependency. The gates' verdicts and the check are constant, so only their paths count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from overwinter import __version__
from overwinter.config import Config, Project
from overwinter.config.own_code import named_targets
from overwinter.data.local_files import remote_places, remote_versions
from overwinter.documents import read_yaml
from overwinter.files import digest
from overwinter.pipeline.contents import Contents
from overwinter.pipeline.render import CHECK_OUT, rendered_stages, stage_out, versions_out

_Stages = dict[str, Any]
_ABSENT = "\0absent"


def prefix_keys(config: Config, project: Project, parameters: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return stage -> prefix key, in the pipeline's order.

    Args:
        config: The configuration.
        project: The project.
        parameters: The content of the params.yaml of ``config``; by default, of the project's file.

    Raises:
        ConfigError: params.yaml cannot be read.
    """
    if parameters is None:
        parameters = read_yaml(project.params)
    return PrefixKeys(project).of(config, parameters)


class PrefixKeys:
    """The prefix keys of many configurations of one project, while its files stay as they are."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._contents = Contents(project.state)
        self._rendered: dict[str, _Stages] = {}
        self._versions: dict[str, dict[str, str]] = {}

    def of(self, config: Config, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return stage -> prefix key, in the pipeline's order.

        Args:
            config: The configuration.
            parameters: The content of its params.yaml, whose values DVC compares as they are written there.
        """
        stages = self._stages(config, parameters)
        made_by = {
            stage_out(name, out): name
            for name, spec in config.pipeline.stages.items()
            for out in (*spec.outs, *spec.reports)
        }
        known = self._remote(config)
        constant = {CHECK_OUT, *(stage_out(name, "gate.json") for name in config.pipeline.stages)}
        keys: dict[str, str] = {}
        for name in config.pipeline.stages:
            stage = stages[name]
            read = {
                path: "" if path in constant else keys[made_by[path]] if path in made_by else self._content(path, known)
                for path in stage["deps"]
            }
            values = {key: _at(parameters, key) for key in stage["params"]}
            keys[name] = digest([__version__, name, stage["cmd"], read, values, _written(stage)])
        return keys

    def _content(self, path: str, known: Mapping[str, str]) -> str:
        return known[path] if path in known else self._contents.digest(self._project.root / path)

    def _remote(self, config: Config) -> dict[str, str]:
        """Return file with versions -> digest: what is at an address counts by what is there now."""
        places = json.dumps(remote_places(config))
        if places not in self._versions:
            found = remote_versions(config)
            self._versions[places] = {versions_out(group): digest(versions) for group, versions in found.items()}
        return self._versions[places]

    def _stages(self, config: Config, parameters: Mapping[str, Any]) -> _Stages:
        """Return the stages of dvc.yaml, rendered once for all configurations that name the same code and files."""
        places = (("data", "root"), ("model", "root"), ("train", "teacher"))
        roots: list[Any] = [(parameters.get(group) or {}).get(key) for group, key in places]
        roots.append(list(remote_places(config)))
        targets = {group: list(named_targets(values)) for group, values in parameters.items()}
        key = json.dumps([parameters.get("pipeline"), parameters.get("packages"), roots, targets])
        if key not in self._rendered:
            self._rendered[key] = rendered_stages(config, self._project)
        return self._rendered[key]


def _written(stage: Mapping[str, Any]) -> list[str]:
    """Return the paths of a stage's outputs, metrics and plots."""
    items = [*stage["outs"], *stage["metrics"], *stage["plots"]]
    return sorted(next(iter(item)) if isinstance(item, dict) else item for item in items)


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return _ABSENT
        tree = tree[part]
    return tree
