"""Settings of a search: how the points of a sweep are chosen one batch after another.

They are in Hydra's own node (`hydra.sweeper.*`), so they are never part of params.yaml or of any result.
"""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.config.settings import setting

METHODS = ("gp", "tpe", "nsga2", "random", "grid")
OBJECTIVES = ("quality", "energy_per_response_j", "production_j", "size_bytes")


@dataclass
class SearchSettings:
    """How a search chooses points, and what it looks for."""

    method: str = setting(
        "how points are chosen: gp (for tens of trials), tpe (hundreds), nsga2 (thousands), random, or grid (all)",
        choices=METHODS,
        default="tpe",
    )
    trials: int = setting(
        "points to run in all, those of earlier starts included; grid runs all its points", at_least=1, default=40
    )
    seed: int = setting("seed of the choice; the same seed and results give the same points", at_least=0, default=0)
    objectives: list[str] = setting(
        "what to trade off: quality (the task's headline measure), energy_per_response_j, production_j, size_bytes",
        choices=OBJECTIVES,
        default_factory=lambda: ["quality", "energy_per_response_j"],
    )
    at_least: dict[str, float] = setting(
        "lower limits that a point of the front meets, such as {accuracy: 0.97}; those of budget.quality hold too",
        default_factory=dict,
    )
    at_most: dict[str, float] = setting(
        "upper limits, such as {size_bytes: 50000}; those of budget.quality hold too", default_factory=dict
    )
    params: dict[str, str] = setting(
        "what to vary, in Hydra's grammar: {sparsify.amount: 'interval(0.3, 0.9)'}; overrides on the command line win",
        default_factory=dict,
    )


@dataclass
class SweeperConfig(SearchSettings):
    """Hydra's node `hydra.sweeper`."""

    _target_: str = "hydra_plugins.overwinter.sweeper.OverwinterSweeper"
