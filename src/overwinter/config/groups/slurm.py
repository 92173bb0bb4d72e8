"""Settings of a sweep on Slurm: what each stage and gate asks for, when the jobs start, and how they are followed.

They are in Hydra's own node (`hydra.launcher.*`), so they are never part of params.yaml or of any result. Their values
are in configs/hydra/launcher/overwinter_slurm.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from overwinter.config.groups.sweep import SweepSettings
from overwinter.config.settings import setting

STARTS = ("now", "carbon")


@dataclass
class Resources:
    """What a job asks Slurm for; null: what `every` says, or Slurm itself."""

    partition: str | None = setting("partition of the job; null: Slurm's own choice", default=None)
    time_min: int | None = setting(
        "time limit in minutes; a stage that reaches it goes on from its checkpoint, in the queue again",
        at_least=1,
        default=None,
    )
    cpus: int | None = setting("processors of one job", at_least=1, default=None)
    mem_gb: float | None = setting("main memory of one job in GiB", above=0, default=None)
    gpus: int | None = setting("GPUs of one job", at_least=0, default=None)
    options: dict[str, str] = setting(
        "further options of sbatch by name, such as {account: physics, constraint: a100}", default_factory=dict
    )


@dataclass
class SlurmSettings(SweepSettings):
    """How the stages of a sweep's points run as Slurm's jobs."""

    workers: int = setting(
        "jobs of one array that run at once, and points that a search chooses at a time", at_least=1, default=64
    )
    start: str = setting(
        "when the first jobs may start: now, or carbon, at the hours that the forecast says are cleanest",
        choices=STARTS,
        default="now",
    )
    deadline_h: float = setting(
        "hours after which a sweep that starts by carbon has to have ended, by its forecast", above=0, default=24.0
    )
    grace_s: int = setting(
        "seconds before a job's time limit at which its stage is asked to save a checkpoint and stop",
        at_least=1,
        default=120,
    )
    timeouts: int = setting(
        "times that one job may reach its time limit and go on; then its stage has failed", at_least=0, default=20
    )
    poll_s: float = setting("seconds between two looks at Slurm's queue", above=0, default=5.0)
    every: Resources = field(default_factory=Resources)
    gates: Resources = field(default_factory=Resources)
    stages: dict[str, Resources] = setting("by stage, what its jobs ask for otherwise", default_factory=dict)

    def resources(self, stage: str | None) -> Resources:
        """Return what the job of a stage asks for; None: that of a gate."""
        own = self.gates if stage is None else self.stages.get(stage, Resources())
        chosen = {name: getattr(self.every, name) for name in _LIMITS}
        chosen |= {name: getattr(own, name) for name in _LIMITS if getattr(own, name) is not None}
        return Resources(**chosen, options={**self.every.options, **own.options})


_LIMITS = tuple(each.name for each in fields(Resources) if each.name != "options")


@dataclass
class SlurmLauncherConfig(SlurmSettings):
    """Hydra's node `hydra.launcher`."""

    _target_: str = "hydra_plugins.overwinter.slurm_launcher.SlurmLauncher"
