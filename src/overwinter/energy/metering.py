"""The groups `energy` and `hardware` without composing: for a meter that is opened outside the pipeline."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from overwinter.errors import ConfigError
from overwinter.template import template_folder

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig


def meter_settings() -> tuple[EnergyConfig, HardwareConfig]:
    """Return the groups `energy` and `hardware` of this project's params.yaml, or the defaults.

    Plain YAML is read, since composing with Hydra takes longer than many commands.
    """
    groups = project_groups() or {}
    # The defaults fill in keys that a project of an earlier version lacks.
    energy = {**_default("energy/default"), **groups.get("energy", {}), "idle_probe_s": 0.0, "cross_check": "none"}
    hardware = {**_default("hardware/auto"), **groups.get("hardware", {})}
    return cast("EnergyConfig", SimpleNamespace(**energy)), cast("HardwareConfig", SimpleNamespace(**hardware))


def project_groups() -> dict[str, Any] | None:
    """Return params.yaml of the project around the current folder; None without one that has meter settings."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ".dvc").is_dir():
            params = folder / "params.yaml"
            groups = _yaml(params) if params.is_file() else {}
            return groups if {"energy", "hardware"} <= groups.keys() else None
    return None


def _default(name: str) -> dict[str, Any]:
    """Return a group's default file, from the installed package or the checkout."""
    return _yaml(template_folder() / "configs" / f"{name}.yaml")


def _yaml(path: Path) -> dict[str, Any]:
    from overwinter.documents import read_yaml

    try:
        content = read_yaml(path)
    except ConfigError as error:
        raise ConfigError(f"{error} Run `overwinter compose`.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} contains no settings. Run `overwinter compose`.")
    return content
