"""Writing params.yaml and the files rendered from it, and checking that they match configs/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from overwinter.config import Config, Project, compose, configs_digest, validate
from overwinter.config.own_code import installed_versions, named_targets
from overwinter.errors import ConfigError
from overwinter.files import write_text
from overwinter.pipeline.code import code_files
from overwinter.pipeline.plots import TEMPLATE, render_power_plot
from overwinter.pipeline.plots_page import PAGE, render_plots_page
from overwinter.pipeline.render import render_dvc_yaml, render_gitignore


def write_composed(project: Project, overrides: Sequence[str] = ()) -> list[Path]:
    """Compose configs/ with ``overrides``, validate, and write params.yaml and the files rendered from it.

    Returns:
        The files that changed: params.yaml, dvc.yaml, outputs/.gitignore, the template and the page of plots.

    Raises:
        ConfigError: the configuration is invalid; no file is changed.
    """
    text = compose(project, overrides)
    config = validate(text)
    return write_rendered(project, text, config, dvc_yaml=render_dvc_yaml(config, project))


def write_rendered(project: Project, params: str, config: Config, *, dvc_yaml: str) -> list[Path]:
    """Write a composed configuration and the files rendered from it, and return those that changed.

    Args:
        project: The project, or a tree with a copy of it.
        params: The text of params.yaml.
        config: The same, typed.
        dvc_yaml: The text of dvc.yaml.
    """
    wanted = {
        project.params: params,
        project.dvc_yaml: dvc_yaml,
        project.outputs / ".gitignore": render_gitignore(config),
        project.plot_templates / f"{TEMPLATE}.json": render_power_plot(),
        project.plot_templates / PAGE: render_plots_page(),
    }
    changed = [path for path, content in wanted.items() if _read(path) != content]
    for path in changed:
        write_text(path, wanted[path])
    return changed


def refuse_stale(config: Config, project: Project) -> None:
    """Check that params.yaml and dvc.yaml match configs/, and list the user's own code as it is now.

    Raises:
        ConfigError: configs/ or an installed package has changed, or dvc.yaml was not rendered from params.yaml.
    """
    if config.configs_digest != configs_digest(project.configs):
        raise ConfigError(
            f"{project.configs} has changed since params.yaml was composed from it.\n"
            "Run `overwinter compose` (with your overrides), then try again."
        )
    versions = installed_versions(named_targets(asdict(config)))
    if config.packages != versions:
        raise ConfigError(
            f"params.yaml was composed for the installed packages {config.packages}; now they are {versions}.\n"
            "Run `overwinter compose` (with your overrides), then try again."
        )
    if (rendered := _read(project.dvc_yaml) or "") != render_dvc_yaml(config, project):
        raise ConfigError(
            f"dvc.yaml does not {_mismatch(rendered, config, project)}.\n"
            "Run `overwinter compose` with the same overrides, or `overwinter run`."
        )


def _mismatch(rendered: str, config: Config, project: Project) -> str:
    needed = dict.fromkeys(path for name in config.pipeline.stages for path in code_files(config, project, name))
    if unlisted := [path for path in needed if f"- {path}\n" not in rendered]:
        return f"list your own code in {', '.join(unlisted)}, so that a change to it would go unseen"
    return "match params.yaml (another data set, other stages, or an edit by hand)"


def refuse_environment(project: Project) -> None:
    """Check that configs/ takes no value from the environment, in case another program composed params.yaml.

    Raises:
        ConfigError: a key in configs/ takes its value from the environment.
    """
    if any(b"oc.env" in path.read_bytes() for path in project.configs.rglob("*.yaml")):
        compose(project)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
