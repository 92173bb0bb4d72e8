"""The group `quantize/`: what its types cannot say."""

from __future__ import annotations

from overwinter.config.groups import CalibratedQuantizeConfig, Config
from overwinter.errors import ConfigError, nearest

CALIBRATION_METHODS = ("entropy", "minmax", "percentile")


def check_quantize(config: Config) -> None:
    """Check the group. Whether the methods exist is checked by the stage: third parties may add some.

    Raises:
        ConfigError: a value is out of range or unknown.
    """
    quantize = config.quantize
    repeated = sorted({method for method in quantize.methods if quantize.methods.count(method) > 1})
    if repeated:
        raise ConfigError(f"quantize.methods names {', '.join(repeated)} twice. Name each method once.")
    if not isinstance(quantize, CalibratedQuantizeConfig):
        return
    if quantize.calibration_samples < 1:
        raise ConfigError(
            f"quantize.calibration_samples={quantize.calibration_samples} must be at least 1: "
            "the activations' ranges come from them."
        )
    method = quantize.calibration_method
    if method not in CALIBRATION_METHODS:
        known = ", ".join(CALIBRATION_METHODS)
        raise ConfigError(
            f"quantize.calibration_method={method!r} is unknown. Known: {known}.{nearest(method, CALIBRATION_METHODS)}"
        )
