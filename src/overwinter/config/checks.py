"""Every check of a configuration, in order: ranges and choices from the settings, then the checks of each group.

A configuration can be composed on another machine than it runs on, so data files are checked only before a run
(`data.check_data`).
"""

from __future__ import annotations

from overwinter.config.groups import Config
from overwinter.config.groups.budget import check_budget, check_budget_values, check_paced_budget
from overwinter.config.groups.energy import check_energy, check_hardware
from overwinter.config.groups.evaluation import check_evaluate, check_hibernate
from overwinter.config.groups.figures import check_figure_names, check_target_names
from overwinter.config.groups.model import check_model
from overwinter.config.groups.pipeline import check_pipeline
from overwinter.config.groups.serve import ServiceConfig, check_serve
from overwinter.config.groups.supervision import Supervision
from overwinter.config.groups.task import check_task
from overwinter.config.groups.training import (
    check_distributed,
    check_kept_masks,
    check_trained_grids,
    check_training,
)
from overwinter.config.settings import check_settings

__all__ = ["check_config", "check_service", "check_supervision"]


def check_config(config: Config) -> None:
    """Check every group of a typed configuration.

    Raises:
        ConfigError: the first invalid value, with its key, and what is allowed.
    """
    check_settings(config)
    check_pipeline(config)
    check_model(config)
    check_task(config)
    config.train.check("train")
    config.sparsify.check("sparsify")
    config.quantize.check("quantize")
    check_training(config)
    check_distributed(config)
    check_trained_grids(config)
    check_kept_masks(config)
    check_evaluate(config)
    check_figure_names(config)
    check_target_names(config)
    check_hibernate(config)
    check_energy(config.energy)
    check_hardware(config.hardware)
    config.carbon.check("carbon")
    check_budget(config)
    config.power.check("power")
    check_paced_budget(config)


def check_service(service: ServiceConfig) -> None:
    """Check the configuration of `overwinter serve` and `overwinter deploy`.

    Raises:
        ConfigError: the first invalid value, with its key, and what is allowed.
    """
    check_settings(service)
    service.carbon.check("carbon")
    check_serve(service.serve)


def check_supervision(groups: Supervision) -> None:
    """Check the groups that supervise work.

    Raises:
        ConfigError: the first invalid value, with its key, and what is allowed.
    """
    check_settings(groups)
    check_energy(groups.energy)
    check_hardware(groups.hardware)
    groups.carbon.check("carbon")
    check_budget_values(groups.budget)
    groups.power.check("power")
    check_paced_budget(groups)
