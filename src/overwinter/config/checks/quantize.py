"""The group `quantize/`: what its types cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from overwinter.config.groups import CalibratedQuantizeConfig, Config
from overwinter.errors import ConfigError, nearest
from overwinter.registries import QUANTIZERS

CALIBRATION_METHODS = ("entropy", "minmax", "percentile")
CALIBRATION_TEXTS = ("both", "data", "generated")


def check_quantize(config: Config) -> None:
    """Check the group.

    Raises:
        ConfigError: a value is out of range or unknown.
    """
    quantize = config.quantize
    repeated = sorted({method for method in quantize.methods if quantize.methods.count(method) > 1})
    if repeated:
        raise ConfigError(f"quantize.methods names {', '.join(repeated)} twice. Name each method once.")
    for method in quantize.methods:
        QUANTIZERS.check(method)
    if not isinstance(quantize, CalibratedQuantizeConfig):
        return
    if quantize.calibration_samples < 1:
        raise ConfigError(
            f"quantize.calibration_samples={quantize.calibration_samples} must be at least 1: "
            "the activations' ranges come from them."
        )
    _check_known("calibration_method", quantize.calibration_method, CALIBRATION_METHODS)
    _check_known("calibration_text", quantize.calibration_text, CALIBRATION_TEXTS)
    _check_overrides(quantize)
    _check_recovery(quantize)
    _check_limits(quantize)


def _check_known(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(
            f"quantize.{key}={value!r} is unknown. Known: {', '.join(known)}.{nearest(value, list(known))}"
        )


def _check_overrides(quantize: CalibratedQuantizeConfig) -> None:
    for pattern, grid in quantize.overrides.items():
        key = f"quantize.overrides.{pattern}"
        if not 2 <= grid.bits <= 8:
            raise ConfigError(f"{key}.bits={grid.bits} must be 2 to 8. For floating point, name it in quantize.skip.")
        if grid.group_size is not None and grid.group_size < 1:
            raise ConfigError(f"{key}.group_size={grid.group_size} must be at least 1, or null for a whole channel.")


def _check_recovery(quantize: CalibratedQuantizeConfig) -> None:
    recovery = quantize.recovery
    if recovery.steps < 0:
        raise ConfigError(f"quantize.recovery.steps={recovery.steps} must be at least 0, which means no recovery.")
    if not 0 < recovery.learning_rate <= 0.1:
        raise ConfigError(
            f"quantize.recovery.learning_rate={recovery.learning_rate} must be above 0 and at most 0.1: "
            "it is a share of each scale."
        )
    if recovery.batch_size < 1:
        raise ConfigError(f"quantize.recovery.batch_size={recovery.batch_size} must be at least 1.")


def _check_limits(quantize: CalibratedQuantizeConfig) -> None:
    if quantize.sensitivity_samples < 0:
        raise ConfigError(f"quantize.sensitivity_samples={quantize.sensitivity_samples} must be at least 0.")
    if not 0 <= quantize.min_agreement <= 1:
        raise ConfigError(f"quantize.min_agreement={quantize.min_agreement} must be from 0 to 1: it is a share.")
    limits = {
        "max_size_ratio": quantize.mixed.max_size_ratio,
        "max_divergence_nats": quantize.mixed.max_divergence_nats,
    }
    given = [key for key, value in limits.items() if value is not None]
    if "mixed" in quantize.methods and len(given) != 1:
        raise ConfigError(
            "The method mixed needs one limit, quantize.mixed.max_size_ratio or quantize.mixed.max_divergence_nats, "
            f"and {' and '.join(given) or 'neither'} is set. Set the other to null."
        )
    for key in given:
        if not (limits[key] or 0) > 0:
            raise ConfigError(f"quantize.mixed.{key}={limits[key]} must be above 0.")
