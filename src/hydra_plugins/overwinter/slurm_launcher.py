"""Hydra's launcher for sweeps on Slurm: each distinct stage and gate of a batch's points is a job.

Select it by `hydra/launcher=overwinter_slurm`. Its settings are in configs/hydra/launcher/overwinter_slurm.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.overwinter.launcher import OverwinterLauncher
from overwinter.config.groups.slurm import Resources, SlurmLauncherConfig, SlurmSettings

if TYPE_CHECKING:
    from overwinter.sweep.batches import RunPoints

ConfigStore.instance().store(
    group="hydra/launcher", name="overwinter_slurm_schema", node=SlurmLauncherConfig, provider="overwinter"
)


class SlurmLauncher(OverwinterLauncher):
    """Runs a batch of jobs by `overwinter.slurm`.

    Args:
        settings: The settings, as `SlurmSettings` describes them.
    """

    def _checked(self, settings: Mapping[str, Any]) -> SlurmSettings:
        own = dict(settings)
        kinds = {name: Resources(**own.pop(name)) for name in ("every", "gates")}
        stages = {name: Resources(**each) for name, each in own.pop("stages").items()}
        return SlurmSettings(**own, **kinds, stages=stages)

    def _runner(self) -> RunPoints:
        from overwinter.slurm import run_on_slurm

        return run_on_slurm
