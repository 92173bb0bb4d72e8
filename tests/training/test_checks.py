from dataclasses import replace

import pytest

from overwinter.config.checks.training import check_fit
from overwinter.errors import ConfigError


def test_good_settings_pass(settings):
    check_fit(settings, key="train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("weight_decay", -0.1),
        ("warmup_fraction", 1.1),
        ("gradient_clip_norm", 0.0),
        ("label_smoothing", 1.0),
        ("patience_epochs", -1),
        ("precision", "fp8"),
        ("checkpoint_interval_s", -1.0),
    ],
)
def test_a_value_out_of_range_is_named(settings, key, value):
    with pytest.raises(ConfigError, match=f"sparsify.fit.{key}="):
        check_fit(replace(settings, **{key: value}), key="sparsify.fit")
