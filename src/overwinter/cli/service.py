"""The configuration of a server, for the commands that start one or render its deployment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config import Project
    from overwinter.config.groups.serve import ServiceConfig

CONFIG_NAME = "serve"


def load_service(
    overrides: Sequence[str] = (), *, config_name: str = CONFIG_NAME, from_environment: bool = True
) -> ServiceConfig:
    """Compose and validate configs/serve.yaml of the project here; where there is none, of the template.

    Args:
        overrides: in Hydra's grammar, such as `serve.port=9000`.
        config_name: another primary configuration in configs/, or a file anywhere (`NAME.yaml`), as `overwinter
            deploy` writes it.
        from_environment: whether values may come from `${oc.env:NAME}`: not where they are written down.

    Raises:
        ConfigError: an unknown key, group or option, or a wrong type, unit or range.
    """
    from overwinter.config import compose, validate_service
    from overwinter.documents import check_yaml_files
    from overwinter.serving.sleep import check_sleep

    project = _service_project(config_name)
    groups = [path for group in ("serve", "carbon") for path in (project.configs / group).rglob("*.yaml")]
    check_yaml_files([project.configs / f"{project.config_name}.yaml", *groups])
    service = validate_service(compose(project, overrides, from_environment=from_environment))
    check_sleep(service.serve.sleep)
    return service


def _service_project(config_name: str) -> Project:
    from dataclasses import replace

    from overwinter.config import Project, find_project
    from overwinter.template import template_folder

    if config_name.endswith(".yaml"):
        file = Path(config_name).resolve()
        project = Project(root=Path.cwd(), configs=file.parent, config_name=file.stem)
        if file.is_file():
            return project
        raise ConfigError(f"--config {config_name}: there is no such file.")
    try:
        project = replace(find_project(), config_name=config_name)
    except ConfigError:  # a server needs a bundle, not a project
        project = Project(root=Path.cwd(), configs=template_folder() / "configs", config_name=config_name)
    if not (project.configs / f"{config_name}.yaml").is_file():
        raise ConfigError(
            f"{project.configs / config_name}.yaml is missing. Copy configs/serve.yaml and configs/serve/ from a new "
            "project (`overwinter init DIR`), or name another with --config."
        )
    return project
