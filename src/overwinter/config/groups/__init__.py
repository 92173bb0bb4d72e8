"""The typed schemas of the configuration, one file per concern. The values are in configs/."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from overwinter.config.groups.budget import BudgetConfig
from overwinter.config.groups.energy import EnergyConfig, HardwareConfig
from overwinter.config.groups.evaluation import EvaluateConfig, HibernateConfig
from overwinter.config.groups.ledger import LedgerConfig
from overwinter.config.groups.pipeline import PipelineConfig, StageSpec
from overwinter.config.groups.plugin import PluginConfig, lazy_schema, plugin_schema
from overwinter.config.groups.task import OwnTaskConfig
from overwinter.config.groups.torchrun import TorchrunConfig
from overwinter.config.groups.training import FitConfig, TrainConfig
from overwinter.config.settings import setting
from overwinter.registries import INTENSITY_SOURCES, POWER_POLICIES, SPARSIFIERS

__all__ = [
    "SCHEMAS",
    "BudgetConfig",
    "Config",
    "EnergyConfig",
    "EvaluateConfig",
    "FitConfig",
    "HardwareConfig",
    "HibernateConfig",
    "LedgerConfig",
    "OwnTaskConfig",
    "PipelineConfig",
    "PluginConfig",
    "StageSpec",
    "TorchrunConfig",
    "TrainConfig",
]


@dataclass
class Config:
    """The whole configuration, as params.yaml holds it.

    `model` and `data` are open: `_target_` names a class, the other keys are its arguments.
    `task`, `train`, `sparsify`, `quantize`, `carbon` and `power` take the schema of the option that was
    picked.
    """

    seed: int = setting("random seed for all stages", at_least=0, below=2**32)
    device: str = setting(
        "device for all stages: cpu, cuda, cuda:1; auto trains and quantizes on a GPU if there is one, and measures "
        "and serves on the CPU"
    )
    threads: int | None = setting(
        "CPU threads for training; null is torch's default; results are bit-identical only for the same number",
        at_least=1,
    )
    trusted_targets: list[str] = setting(
        "packages besides overwinter and torch whose classes `_target_` may name, and whose functions may build the "
        "model: [my_package]"
    )
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    data: dict[str, Any] = MISSING
    model: dict[str, Any] = MISSING
    task: Any = None  # configs/ older than the group `task/` have none: `validate` reads classification
    train: Any = MISSING
    sparsify: Any = MISSING
    quantize: Any = MISSING
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    hibernate: HibernateConfig = field(default_factory=HibernateConfig)
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    torchrun: TorchrunConfig = field(default_factory=TorchrunConfig)
    carbon: Any = MISSING
    power: Any = MISSING
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    extensions: dict[str, Any] = setting("settings of your own stages, by stage (docs/extending.md)")
    packages: dict[str, str] = setting(
        "versions of the installed packages, besides overwinter and torch, that a `_target_` names; "
        "another version is another result"
    )
    configs_digest: str = setting("digest of configs/, to detect a stale params.yaml")


# Groups whose keys depend on the selected option.
SCHEMAS: dict[str, Callable[[Mapping[str, Any]], type[Any]]] = {
    "task": lazy_schema("overwinter.tasks.settings:task_schema"),
    "train": lazy_schema("overwinter.sparsity.settings:train_schema"),
    "sparsify": plugin_schema(SPARSIFIERS),
    "quantize": lazy_schema("overwinter.quantization.settings:quantize_schema"),
    "carbon": plugin_schema(INTENSITY_SOURCES),
    "power": plugin_schema(POWER_POLICIES),
}
