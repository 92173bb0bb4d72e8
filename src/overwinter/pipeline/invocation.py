"""The call of a stage program: by DVC on params.yaml, or by the user with overrides on a scratch folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overwinter.config import Config, Project, compose, find_project, load_config, validate


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One call of a stage program.

    Attributes:
        stage: The stage's name.
        project: The project.
        config: The validated configuration.
        folder: The folder of the stage's outputs.
        scratch: Whether the outputs go to a scratch folder, outside the pipeline's outputs.
    """

    stage: str
    project: Project
    config: Config
    folder: Path
    scratch: bool


def invocation(stage: str, arguments: Sequence[str]) -> Invocation:
    """Read the configuration for this call.

    Without arguments, it is params.yaml, and the outputs are the pipeline's. With overrides, configs/ is composed
    again, and the outputs go to a scratch folder, so that experiments never change the pipeline's outputs.

    Raises:
        ConfigError: there is no project, or the configuration is invalid.
    """
    project = find_project()
    config = configured(project, arguments)
    if not arguments:
        return Invocation(stage=stage, project=project, config=config, folder=project.outputs / stage, scratch=False)
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    folder = project.state / "scratch" / f"{stage}-{moment}"
    return Invocation(stage=stage, project=project, config=config, folder=folder, scratch=True)


def configured(project: Project, arguments: Sequence[str]) -> Config:
    """Return the project's configuration from params.yaml, or composed again with overrides."""
    return validate(compose(project, arguments)) if arguments else load_config(project)


def serve_hydra_flags(arguments: Sequence[str]) -> bool:
    """Run Hydra for its own flags (`--help`, `--cfg job`, `--info`, `--shell-completion`); return whether it ran."""
    if not any(argument.startswith("-") for argument in arguments):
        return False
    import hydra

    project = find_project()
    main = hydra.main(config_path=str(project.configs), config_name=project.config_name, version_base=None)(
        lambda _: None
    )
    sys.argv[1:] = list(arguments)
    main()
    return True
