"""Hydra's sweeper for searches: points chosen batch by batch from the results so far, by `overwinter.sweep.search`.

Select it by `hydra/sweeper=overwinter`, or by an option of `configs/sweep/`, together with `hydra/launcher=overwinter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from overwinter.config.groups.search import SearchSettings, SweeperConfig

ConfigStore.instance().store(group="hydra/sweeper", name="overwinter", node=SweeperConfig, provider="overwinter")


class OverwinterSweeper(Sweeper):
    """Chooses points by Optuna, and lets Overwinter's launcher run them.

    Args:
        settings: The settings of the search, as `SearchSettings` describes them.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = SearchSettings(**settings)
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self._returned: list[Sequence[JobReturn]] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the sweep's configuration, and make its launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search; return what the jobs returned, batch by batch.

        Raises:
            ConfigError: a setting, a range or a job is invalid, or the launcher is another one.
        """
        from overwinter.sweep.searching import search_project

        assert self.config is not None  # noqa: S101 -- Hydra calls `setup` first
        assert self.hydra_context is not None  # noqa: S101
        search_project(
            arguments,
            self._settings,
            self.config.hydra,
            loader=self.hydra_context.config_loader,
            launch=self._launch,
        )
        return self._returned

    def _launch(self, jobs: Sequence[Sequence[str]], ended: int, total: int) -> list[Any]:
        from hydra_plugins.overwinter.launcher import OverwinterLauncher

        assert isinstance(self.launcher, OverwinterLauncher)  # noqa: S101 -- `search_project` has checked it
        self.launcher.ended, self.launcher.total = ended, total
        done = sum(len(batch) for batch in self._returned)
        self._returned.append(self.launcher.launch(jobs, initial_job_idx=done))
        return [job.return_value for job in self._returned[-1]]
