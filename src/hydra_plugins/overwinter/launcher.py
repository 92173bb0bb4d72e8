"""Hydra's launcher for sweeps: the points of a batch run in worker trees and share the stages they have in common.

Select it by `hydra/launcher=overwinter`; `overwinter run -m` does. A point that fails or is refused by a gate is a
completed job whose return value says so, so that the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from overwinter.config.groups.sweep import LauncherConfig, SweepSettings

if TYPE_CHECKING:
    from overwinter.sweep.batches import RunPoints

ConfigStore.instance().store(group="hydra/launcher", name="overwinter", node=LauncherConfig, provider="overwinter")


class OverwinterLauncher(Launcher):
    """Runs a batch of jobs by `overwinter.sweep`.

    Args:
        settings: The settings of the sweep, as `SweepSettings` describes them.

    Attributes:
        ended: The points that have ended before a batch, for the progress; a search sets it.
        total: The points that a search runs in all; 0: those of the batch.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = self._checked(settings)
        self._config: DictConfig | None = None
        self.ended = self.total = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the sweep's configuration; the jobs run DVC, not ``task_function``."""
        del hydra_context, task_function
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch; each job's return value has its status and figures.

        Raises:
            ConfigError: a job's configuration is invalid, or the project is not one that can be swept.
            KeyboardInterrupt: the sweep was interrupted; what is finished is recorded.
        """
        del initial_job_idx
        from rich.console import Console

        from overwinter.report.sweep_progress import sweep_progress_for
        from overwinter.sweep.batches import fixed_overrides, run_batch

        assert self._config is not None  # noqa: S101 -- Hydra calls `setup` first
        fixed = fixed_overrides(self._config.hydra)
        progress = sweep_progress_for(Console(stderr=True), fixed=fixed, ended=self.ended, total=self.total)
        try:
            results = run_batch(
                job_overrides, self._config.hydra.overrides.task, self._settings, on_event=progress, run=self._runner()
            )
        finally:
            progress.close()
        return [_returned(result) for result in results]

    def _checked(self, settings: Mapping[str, Any]) -> SweepSettings:
        """Return the settings of this launcher."""
        return SweepSettings(**settings)

    def _runner(self) -> RunPoints | None:
        """Return the function that runs the points; None for that of `overwinter.sweep`."""
        return None


def _returned(result: Any) -> JobReturn:
    shown = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "point"}
    returned = JobReturn(overrides=list(result.point.overrides), status=JobStatus.COMPLETED)
    returned.return_value = {"name": result.point.name, **shown}
    return returned
