"""The configuration of a watched script: the project's around it, or else the defaults of the package."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overwinter.config import Project, compose, find_project, validate_supervision
from overwinter.config.composition import hydra_set_aside, read_parameters
from overwinter.config.groups.supervision import Supervision
from overwinter.errors import ConfigError
from overwinter.template import template_folder

_FILES = ("path", "prices")  # settings of carbon and power that name a file relative to the project
_GROUPS = ("energy", "hardware", "ledger", "carbon", "power", "budget")


def supervision_for_script(
    *,
    budget: str | None = None,
    power: str | None = None,
    carbon: str | None = None,
    project: str | None = None,
    overrides: Sequence[str] = (),
) -> Supervision:
    """Return the groups that supervise a script in the current folder.

    A project's limits on single stages are left out: a script is none of them.

    Args:
        budget: The limit on the run, such as `50 kJ and 2 h`; by default, the project's limit on all stages.
        power: An option of the group `power/`, such as `static`.
        carbon: An option of the group `carbon/`, such as `country`.
        project: The project's name in the ledger.
        overrides: Any options and keys of these groups in Hydra's grammar, such as `power=static` and
            `power.limit=150 W`.

    Raises:
        ConfigError: an unknown key, group or option, or an invalid value.
    """
    picked = [f"{group}={name}" for group, name in (("power", power), ("carbon", carbon)) if name is not None]
    _check_groups(overrides)
    place = _project()
    with hydra_set_aside():
        content = read_parameters(compose(place, [*picked, *overrides]))
    content["budget"]["stages"] = {}
    for group in ("carbon", "power"):
        content[group] = _from_root(content[group], place.root)
    if budget is not None:
        content["budget"]["total"] = budget
    if project is not None:
        content["ledger"]["project"] = project
    return validate_supervision(content)


def _from_root(node: Any, root: Path) -> Any:
    """Return settings in which files relative to the project are absolute: a script may run in any of its folders."""
    if not isinstance(node, dict):
        return node
    return {
        key: str(root / value) if key in _FILES and isinstance(value, str) else _from_root(value, root)
        for key, value in node.items()
    }


def _check_groups(overrides: Sequence[str]) -> None:
    for override in overrides:
        if override.partition("=")[0].lstrip("+~").split(".")[0] not in _GROUPS:
            raise ConfigError(
                f"overrides: {override!r} is not a setting of a watched script. Groups: {', '.join(_GROUPS)}."
            )


def _project() -> Project:
    """Return the project around the current folder, or one with the package's own configs/."""
    with contextlib.suppress(ConfigError):
        project = find_project()
        if all((project.configs / group).is_dir() for group in _GROUPS):  # not another program's configs/
            return project
    return Project(root=Path.cwd(), configs=template_folder() / "configs", config_name="config")
