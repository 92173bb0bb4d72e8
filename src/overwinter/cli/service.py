"""The configuration of a server, for the commands `serve`, `power-draw` and `deploy`."""

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
    """Return configs/serve.yaml of this project (outside one, of the template), composed and validated.

    Args:
        overrides: Overrides in Hydra's grammar, such as `serve.port=9000`.
        config_name: Another primary configuration in configs/, or the path of a file (`NAME.yaml`), as `overwinter
            deploy` writes it.
        from_environment: Whether values may come from `${oc.env:NAME}`; not if they are written to a file.

    Raises:
        ConfigError: A key, group or option is unknown, or a type, unit or range is wrong.
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
        raise ConfigError(f"--config {config_name}: file not found.")
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
