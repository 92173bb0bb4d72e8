"""Checks of the group `sparsify/`."""

from __future__ import annotations

from overwinter.config.checks.ranges import check_at_least, check_choice, check_share
from overwinter.config.checks.training import check_fit
from overwinter.config.groups import Config, FineTunedSparsifyConfig, MagnitudeConfig
from overwinter.errors import ConfigError

_SCOPES = ("global", "layer")


def check_sparsify(config: Config) -> None:
    """Check the group `sparsify/` of a typed configuration; a third party's schema checks itself.

    Raises:
        ConfigError: the first value out of its range, with its key.
    """
    chosen = config.sparsify
    if isinstance(chosen, FineTunedSparsifyConfig):
        check_share("sparsify.amount", chosen.amount)
        check_share("sparsify.distillation_weight", chosen.distillation_weight, with_one=True)
        check_at_least("sparsify.distillation_temperature", chosen.distillation_temperature, 0, above=True)
        check_fit(chosen.fit, key="sparsify.fit")
    if isinstance(chosen, MagnitudeConfig):
        _check_magnitude(chosen)


def _check_magnitude(chosen: MagnitudeConfig) -> None:
    check_choice("sparsify.scope", chosen.scope, _SCOPES)
    check_at_least("sparsify.update_interval_steps", chosen.update_interval_steps, 1)
    if not 0 < chosen.ramp_fraction <= 1:
        raise ConfigError(f"sparsify.ramp_fraction={chosen.ramp_fraction} must be above 0, and at most 1.")
