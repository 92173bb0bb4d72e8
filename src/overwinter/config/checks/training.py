"""Checks of the group `train/`, and of the fine-tuning in other groups."""

from __future__ import annotations

from overwinter.config.checks.ranges import check_at_least, check_choice, check_share
from overwinter.config.groups import Config, FitConfig, QatConfig, QatTrainConfig, RelaxedQatConfig
from overwinter.config.settings import check_settings
from overwinter.errors import ConfigError

_ROUNDINGS = ("straight_through", "relaxed", "relaxed_straight_through")
_SCALES = ("observed", "learned")


def check_train(config: Config) -> None:
    """Check the group `train/` of a typed configuration.

    Raises:
        ConfigError: the first value out of its range, with its key.
    """
    check_fit(config.train, key="train")
    if isinstance(config.train, QatTrainConfig):
        _check_qat(config.train.qat)
    if "qat" in config.quantize.methods:
        _check_qat_is_kept(config)


def check_fit(fit: FitConfig, *, key: str) -> None:
    """Check the settings of a fit.

    Args:
        fit: the settings.
        key: where they are in the configuration, for the message.

    Raises:
        ConfigError: the first value out of its range, with its key.
    """
    check_settings(fit, key=key)


def _check_qat(qat: QatConfig) -> None:
    check_choice("train.qat.rounding", qat.rounding, _ROUNDINGS)
    check_choice("train.qat.scale", qat.scale, _SCALES)
    _check_bits("train.qat.weight_bits", qat.weight_bits)
    if qat.activation_bits is not None:
        _check_bits("train.qat.activation_bits", qat.activation_bits)
    if qat.group_size is not None:
        check_at_least("train.qat.group_size", qat.group_size, 1)
    check_share("train.qat.start_fraction", qat.start_fraction)
    check_share("train.qat.freeze_fraction", qat.freeze_fraction, with_one=True)
    if qat.freeze_fraction <= qat.start_fraction:
        raise ConfigError(
            f"train.qat.freeze_fraction={qat.freeze_fraction} must be above train.qat.start_fraction="
            f"{qat.start_fraction}: between them the model learns its grids."
        )
    if isinstance(qat, RelaxedQatConfig):
        check_at_least("train.qat.temperature", qat.temperature, 0, above=True)
        check_at_least("train.qat.noise", qat.noise, 0, above=True)
        if not 0 < qat.final_noise_share <= 1:
            raise ConfigError(f"train.qat.final_noise_share={qat.final_noise_share} must be above 0 and at most 1.")
        check_at_least("train.qat.neighbours", qat.neighbours, 1)


def _check_bits(key: str, bits: int) -> None:
    if not 2 <= bits <= 8:
        raise ConfigError(f"{key}={bits} must be between 2 and 8.")


def _check_qat_is_kept(config: Config) -> None:
    """The method `qat` takes its grids from training, and what sparsify changes is no longer on them."""
    if not isinstance(config.train, QatTrainConfig):
        raise ConfigError("quantize.methods names qat, but there is no train.qat. Set train=qat_int8.")
    if config.sparsify.method != "none":
        raise ConfigError(
            f"quantize.methods names qat, but sparsify.method={config.sparsify.method} changes the weights after they "
            "were trained for their grids. Set sparsify=none."
        )
