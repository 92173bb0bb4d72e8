"""Where a project is: the folder with .dvc/, its params.yaml and dvc.yaml, and the configs/ it is composed from."""

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
        """params.yaml, composed."""
        return self.root / "params.yaml"

    @property
    def dvc_yaml(self) -> Path:
        """dvc.yaml, rendered."""
        return self.root / "dvc.yaml"

    @property
    def outputs(self) -> Path:
        """What the stages leave."""
        return self.root / "outputs"

    @property
    def plot_templates(self) -> Path:
        """The folder where DVC finds templates of plots by name."""
        return self.root / ".dvc" / "plots"

    @property
    def state(self) -> Path:
        """The folder of the ledger and the checkpoints; it outlives DVC's temporary workspaces (`DVC_ROOT`)."""
        return Path(os.environ.get("DVC_ROOT") or self.root) / ".overwinter"


def find_project(start: Path | None = None) -> Project:
    """Find the project that holds ``start`` (the current folder by default).

    Raises:
        ConfigError: there is none, or its .dvc/config does not say where configs/ is.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc" / "config").is_file():
            return _described(folder)
    raise ConfigError(f"{here} is in no Overwinter project (no .dvc/config here or above). Run `overwinter init DIR`.")


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
