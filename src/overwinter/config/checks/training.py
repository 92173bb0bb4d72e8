"""Checks of the group `train/`, and of the fine-tuning in other groups."""

from __future__ import annotations

from overwinter.config.checks.ranges import check_at_least, check_choice, check_share
from overwinter.config.groups import Config, FitConfig

_PRECISIONS = ("auto", "fp32", "bf16")


def check_train(config: Config) -> None:
    """Check the group `train/` of a typed configuration.

    Raises:
        ConfigError: the first value out of its range, with its key.
    """
    check_fit(config.train, key="train")


def check_fit(fit: FitConfig, *, key: str) -> None:
    """Check the settings of a fit.

    Args:
        fit: the settings.
        key: where they are in the configuration, for the message.

    Raises:
        ConfigError: the first value out of its range, with its key.
    """
    check_at_least(f"{key}.epochs", fit.epochs, 1)
    check_at_least(f"{key}.batch_size", fit.batch_size, 1)
    check_at_least(f"{key}.learning_rate", fit.learning_rate, 0, above=True)
    check_at_least(f"{key}.weight_decay", fit.weight_decay, 0)
    check_share(f"{key}.warmup_fraction", fit.warmup_fraction, with_one=True)
    check_at_least(f"{key}.gradient_clip_norm", fit.gradient_clip_norm, 0, above=True)
    check_share(f"{key}.label_smoothing", fit.label_smoothing)
    check_at_least(f"{key}.patience_epochs", fit.patience_epochs, 0)
    check_choice(f"{key}.precision", fit.precision, _PRECISIONS)
    check_at_least(f"{key}.checkpoint_interval_s", fit.checkpoint_interval_s, 0)
