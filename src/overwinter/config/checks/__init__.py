"""What a type cannot say: ranges, choices, units. One module per concern, no torch.

Whether the data is there (`data.check_data`) is asked apart, by what is about to run: a configuration can be composed
on another machine than it runs on.
"""

from __future__ import annotations

from overwinter.config.checks.power import check_power
from overwinter.config.checks.quantize import check_quantize
from overwinter.config.checks.training import check_train
from overwinter.config.groups import Config
from overwinter.config.groups.budget import check_budget
from overwinter.config.groups.energy import check_energy
from overwinter.config.groups.evaluation import check_evaluate, check_hibernate
from overwinter.config.groups.model import check_model
from overwinter.config.groups.pipeline import check_pipeline
from overwinter.config.groups.serve import ServiceConfig, check_serve
from overwinter.config.settings import check_settings

__all__ = ["check_config", "check_service"]


def check_config(config: Config) -> None:
    """Check every group of a typed configuration.

    Raises:
        ConfigError: the first value that cannot be used, with its key, and what is allowed.
    """
    check_settings(config)
    check_pipeline(config)
    check_model(config)
    check_train(config)
    config.sparsify.check("sparsify")
    check_quantize(config)
    check_evaluate(config)
    check_hibernate(config)
    check_energy(config.energy)
    config.carbon.check("carbon")
    check_budget(config)
    check_power(config)


def check_service(service: ServiceConfig) -> None:
    """Check what `overwinter serve` and `overwinter deploy` compose.

    Raises:
        ConfigError: the first value that cannot be used, with its key, and what is allowed.
    """
    check_settings(service)
    service.carbon.check("carbon")
    check_serve(service.serve)
