"""What Hydra loads wherever it composes, also inside DVC: the schema, the resolvers, and where configs/ is.

Hydra imports this module at every start of every Hydra application in the environment: it must stay quick, and
must never import torch.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from overwinter.config.composition import configs_digest
from overwinter.config.environment import guard_environment
from overwinter.config.groups import Config
from overwinter.config.groups.serve import ServiceConfig
from overwinter.config.own_code import installed_versions, named_targets
from overwinter.documents import MAX_BYTES, check_yaml_files

_configs: list[Path] = []
_SCHEMA = b"overwinter_schema"


class OverwinterSearchPath(SearchPathPlugin):
    """Remembers the folder that is being composed, for the resolver below, and looks at what Hydra will read there.

    DVC resolves interpolations after Hydra has been shut down, when no one else knows the folder any more.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Note the primary folder of the search path.

        Raises:
            ConfigError: a file in it stands for more than a configuration ever does.
        """
        folders = [item.path for item in search_path.get_path() if item.provider == "main" and item.path]
        _configs[:] = [Path(folder.removeprefix("file://")) for folder in folders]
        for folder in filter(_is_ours, _configs):
            check_yaml_files(folder.rglob("*.yaml"))


def _is_ours(folder: Path) -> bool:
    """Return whether one of its primary configurations has our schema.

    Hydra's other users have nothing to do with us.
    """
    return any(path.stat().st_size <= MAX_BYTES and _SCHEMA in path.read_bytes() for path in folder.glob("*.yaml"))


def _digest() -> str:
    return configs_digest(_configs[0]) if _configs else ""


def _packages(*, _root_: DictConfig) -> dict[str, str]:
    return installed_versions(named_targets(OmegaConf.to_container(_root_, resolve=False)))


guard_environment()
OmegaConf.register_new_resolver("overwinter.configs_digest", _digest, replace=True)
OmegaConf.register_new_resolver("overwinter.packages", _packages, replace=True)
ConfigStore.instance().store(name="overwinter_schema", node=Config, provider="overwinter")
ConfigStore.instance().store(name="service_schema", node=ServiceConfig, provider="overwinter")
