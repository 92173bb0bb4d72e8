"""Paths of a project: the folder with .dvc/, its params.yaml and dvc.yaml, and the configs/ it is composed from."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path

from overwinter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Project:
    """A DVC repository that Overwinter drives.

    Attributes:
        root: the folder of dvc.yaml and params.yaml, where stages run.
        configs: the folder of Hydra's groups.
        config_name: the primary configuration in it, without `.yaml`.
    """

    root: Path
    configs: Path
    config_name: str

    @property
    def params(self) -> Path:
        """Path of params.yaml."""
        return self.root / "params.yaml"

    @property
    def dvc_yaml(self) -> Path:
        """Path of dvc.yaml."""
        return self.root / "dvc.yaml"

    @property
    def outputs(self) -> Path:
        """Folder of the stages' outputs."""
        return self.root / "outputs"

    @property
    def plot_templates(self) -> Path:
        """Folder in which DVC finds plot templates by name."""
        return self.root / ".dvc" / "plots"

    @property
    def state(self) -> Path:
        """Folder of the ledger and the checkpoints, in the main root even from DVC's temporary copies (`DVC_ROOT`)."""
        return Path(os.environ.get("DVC_ROOT") or self.root) / ".overwinter"


def find_project(start: Path | None = None) -> Project:
    """Return the project that contains ``start`` (the current folder by default).

    Raises:
        ConfigError: there is no project, or its .dvc/config does not set hydra.config_dir.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc" / "config").is_file():
            return _described(folder)
    raise ConfigError(
        f"{here} is not in an Overwinter project: no .dvc/config here or in a parent. Run `overwinter init DIR`."
    )


def _described(root: Path) -> Project:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(root / ".dvc" / "config", encoding="utf-8")
    hydra = parser["hydra"] if parser.has_section("hydra") else {}
    configs = Path(os.path.normpath(root / hydra.get("config_dir", "configs")))
    if not configs.is_dir():
        raise ConfigError(
            f"{configs} is missing; {root / '.dvc' / 'config'} names it as hydra.config_dir. Run `overwinter init`."
        )
    return Project(root=root, configs=configs, config_name=hydra.get("config_name", "config"))
