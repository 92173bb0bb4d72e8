"""Creation of a new project (`overwinter init`): a copy of the template, in a new DVC repository.

The cases of `pipelines/` and their own configurations are left out, unless they are asked for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from overwinter.config.composition import configs_digest
from overwinter.errors import ConfigError, nearest
from overwinter.files import write_error, write_text
from overwinter.pipeline.plots import TEMPLATE, render_power_plot
from overwinter.pipeline.plots_page import PAGE, render_plots_page
from overwinter.template import template_folder

_PARTS = ("configs", "stages", "data", "dvc.yaml", "params.yaml")
_CASES = "pipelines"
_MADE_BY_RUNS = ("__pycache__", "outputs", "dvc.lock", ".overwinter", "cache", "tmp")
_DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
{no_scm}[hydra]
    enabled = true
    config_dir = configs
    config_name = config
[plots]
    html_template = plots/page.html
"""


_README = """\
# {name}

Made by `overwinter init`. It runs as it is: a small network on handwritten digits is trained, sparsified, quantized,
evaluated and saved to be served, and every joule is counted.

    overwinter plan      # what would run, and what it would cost
    overwinter run       # run it
    overwinter report    # the picture of it

- `configs/` holds all settings; `overwinter run train.epochs=5` overrides one.
- `stages/` holds the programs of the stages, yours to read and to change.
- `overwinter doctor` says what this machine can meter.

Your own model and data: choose `model` and `data` in `configs/config.yaml`, or start from a script that you have with
`overwinter init DIR --from script.py`.
"""


def create_project(folder: Path, *, cases: Sequence[str] = ()) -> None:
    """Copy the template into ``folder`` and make it a DVC repository, and a Git repository if Git is installed.

    Args:
        folder: The project's folder; created if missing.
        cases: Names of the cases to copy too, such as `fashion`.

    Raises:
        ConfigError: the folder already contains a part of the template, or a case is unknown.
        OverwinterError: the folder cannot be written.
    """
    known = _known_cases()
    for case in cases:
        if case not in known:
            raise ConfigError(f"--case {case}: no such case.{nearest(case, known)} There are: {', '.join(known)}.")
    taken = [name for name in (*_PARTS, _CASES, ".dvc") if (folder / name).exists()]
    if taken:
        raise ConfigError(f"{folder} already has {', '.join(taken)}. Choose an empty folder; nothing was changed.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy_template(folder, cases)
        if not (folder / "README.md").exists():
            write_text(folder / "README.md", _README.format(name=folder.resolve().name))
        write_text(
            folder / ".dvc" / "config",
            _DVC_CONFIG.format(no_scm="" if _in_git(folder) else "    no_scm = true\n"),
        )
        write_text(folder / ".dvc" / "plots" / f"{TEMPLATE}.json", render_power_plot())
        write_text(folder / ".dvc" / "plots" / PAGE, render_plots_page())
        write_text(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
        write_text(
            folder / ".dvcignore",
            "# Neither Overwinter's own state nor Python's caches are data.\n.overwinter\n__pycache__\n",
        )
        write_text(folder / ".gitignore", "__pycache__/\n.overwinter/\n")
    except OSError as error:
        raise write_error(folder, error) from error


def _known_cases() -> list[str]:
    return sorted(path.parent.name for path in (template_folder() / _CASES).glob("*/dvc.yaml"))


def _copy_template(folder: Path, cases: Sequence[str]) -> None:
    source = template_folder()
    for name in (*_PARTS, *(f"{_CASES}/{case}" for case in cases)):
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns(*_MADE_BY_RUNS))
        else:
            shutil.copyfile(source / name, folder / name)
    for case in set(_known_cases()) - set(cases):
        (folder / "configs" / f"{case}.yaml").unlink()
    digest = configs_digest(folder / "configs")
    for params in (folder / "params.yaml", *(folder / _CASES / case / "params.yaml" for case in cases)):
        text = params.read_text(encoding="utf-8")
        write_text(params, re.sub(r"^configs_digest: .*", f"configs_digest: {digest}", text, flags=re.MULTILINE))


def _in_git(folder: Path) -> bool:
    """Return whether the folder is in a Git repository; make a new one if it is not and Git is installed."""
    if shutil.which("git") is None:
        return False
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], cwd=folder, capture_output=True, check=False)
    if inside.returncode == 0:
        return True
    return subprocess.run(["git", "init", "--quiet"], cwd=folder, capture_output=True, check=False).returncode == 0
