"""Creation of a new project (`overwinter init`): a copy of the template, in a new DVC repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from overwinter.errors import ConfigError
from overwinter.files import write_error, write_text
from overwinter.pipeline.plots import TEMPLATE, render_power_plot
from overwinter.template import template_folder

_PARTS = ("configs", "stages", "pipelines", "data", "dvc.yaml", "params.yaml")
_MADE_BY_RUNS = ("__pycache__", "outputs", "dvc.lock", ".overwinter", "cache", "tmp")
_DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
{no_scm}[hydra]
    enabled = true
    config_dir = configs
    config_name = config
"""


def create_project(folder: Path) -> None:
    """Copy the template into ``folder`` and make it a DVC repository, and a Git repository if Git is installed.

    Raises:
        ConfigError: the folder already contains a part of the template.
        OverwinterError: the folder cannot be written.
    """
    taken = [name for name in (*_PARTS, ".dvc") if (folder / name).exists()]
    if taken:
        raise ConfigError(f"{folder} already has {', '.join(taken)}. Choose an empty folder; nothing was changed.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy_template(folder)
        write_text(
            folder / ".dvc" / "config",
            _DVC_CONFIG.format(no_scm="" if _in_git(folder) else "    no_scm = true\n"),
        )
        write_text(folder / ".dvc" / "plots" / f"{TEMPLATE}.json", render_power_plot())
        write_text(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
        write_text(
            folder / ".dvcignore",
            "# Neither Overwinter's own state nor Python's caches are data.\n.overwinter\n__pycache__\n",
        )
        write_text(folder / ".gitignore", "__pycache__/\n.overwinter/\n")
    except OSError as error:
        raise write_error(folder, error) from error


def _copy_template(folder: Path) -> None:
    source = template_folder()
    for name in _PARTS:
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns(*_MADE_BY_RUNS))
        else:
            shutil.copyfile(source / name, folder / name)


def _in_git(folder: Path) -> bool:
    """Return whether the folder is in a Git repository; make a new one if it is not and Git is installed."""
    if shutil.which("git") is None:
        return False
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], cwd=folder, capture_output=True, check=False)
    if inside.returncode == 0:
        return True
    return subprocess.run(["git", "init", "--quiet"], cwd=folder, capture_output=True, check=False).returncode == 0
