"""The user's own code as a dependency of the stages that run it.

Every stage depends on the code behind `model`, `data` and `task`, and on that behind the settings in its `params`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from overwinter.config import Config, Project
from overwinter.config.own_code import named_targets, own_files
from overwinter.files import tree_digest

_EVERYWHERE = ("model", "data", "task")


def code_files(config: Config, project: Project, stage: str) -> list[str]:
    """Return the files and folders of the user's own code that ``stage`` runs, relative to the project's root.

    Those are `pipeline.code`, and what is found behind each `_target_`; nothing is imported. A package outside the root
    is listed file by file, because DVC would count Python's caches in its folder.
    """
    programs = os.path.normpath(project.root / config.pipeline.programs)
    search = [programs, *sys.path, str(project.root)]
    found = own_files(_targets(config, stage), search=search, root=project.root)
    paths = [_relative(file, project) for path in found for file in _counted(path, project)]
    return list(dict.fromkeys([*config.pipeline.code, *paths]))


def code_parameters(config: Config, stage: str) -> list[str]:
    """Return the parameters with the versions of the installed packages that the settings of ``stage`` name."""
    named = {target.partition(".")[0] for target in _targets(config, stage)}
    return [f"packages.{package}" for package in config.packages if package in named]


def code_digests(config: Config, project: Project, stage: str) -> dict[str, str]:
    """Return the digest of each of `code_files`."""
    paths = {path: project.root / path for path in code_files(config, project, stage)}
    return {path: tree_digest(place) for path, place in paths.items() if place.exists()}


def _targets(config: Config, stage: str) -> list[str]:
    everything: dict[str, Any] = asdict(config)
    keys = [*_EVERYWHERE, *config.pipeline.stages[stage].params]
    groups = dict.fromkeys(key.partition(".")[0] for key in keys)
    return list(dict.fromkeys(target for key in groups for target in named_targets(everything.get(key))))


def _counted(path: Path, project: Project) -> list[Path]:
    if path.is_file() or path.is_relative_to(project.root):  # there, .dvcignore leaves out Python's caches
        return [path]
    return [file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]


def _relative(path: Path, project: Project) -> str:
    """Return a path relative to the project's root, also in the temporary copy of a project that DVC runs.

    An editable install leads from the copy back to the main root, whose path in dvc.yaml is the same.
    """
    main = project.state.parent
    copied = path.is_relative_to(project.root) or path.is_relative_to(main / ".dvc")
    return Path(os.path.relpath(path, project.root if copied else main)).as_posix()
