"""Settings of a sweep: how many points run at once, how far, and what they may cost together.

They are in Hydra's own node (`hydra.launcher.*`), so they are never part of params.yaml or of any result.
"""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting


@dataclass
class SweepSettings:
    """How the points of a sweep are run, whichever sweeper chooses them."""

    workers: int = setting("points that run at once, each in a tree of its own", at_least=1, default=1)
    until: str = setting(
        "last stage that every point runs; a pipeline without it runs to its own last stage", default="evaluate"
    )
    budget: str | None = setting(
        "limit on the joules that the whole sweep spends, such as 20 kJ; it stops before the point whose forecast "
        "would exceed it; null: no limit",
        default=None,
    )
    name: str | None = setting(
        "the sweep's folder in .overwinter/sweeps/; null: eight hexadecimal digits made from its overrides",
        default=None,
    )


@dataclass
class LauncherConfig(SweepSettings):
    """Hydra's node `hydra.launcher`."""

    _target_: str = "hydra_plugins.overwinter.launcher.OverwinterLauncher"
