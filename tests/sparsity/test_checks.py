from types import SimpleNamespace

import pytest

from overwinter.config.checks.sparsify import check_sparsify
from overwinter.config.groups import SparsifyConfig
from overwinter.errors import ConfigError


def check(chosen):
    check_sparsify(SimpleNamespace(sparsify=chosen))


def test_good_settings_pass(magnitude_config, channels_config):
    check(magnitude_config())
    check(channels_config())
    check(SparsifyConfig(version=1, method="none"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("amount", 1.0),
        ("amount", -0.1),
        ("distillation_weight", 1.5),
        ("distillation_temperature", 0.0),
        ("scope", "model"),
        ("ramp_fraction", 0.0),
        ("ramp_fraction", 1.5),
        ("update_interval_steps", 0),
    ],
)
def test_a_value_out_of_range_is_named(magnitude_config, key, value):
    with pytest.raises(ConfigError, match=f"sparsify.{key}="):
        check(magnitude_config(**{key: value}))


def test_the_fine_tuning_is_checked_too(channels_config, settings):
    from dataclasses import replace

    with pytest.raises(ConfigError, match=r"sparsify\.fit\.epochs=0"):
        check(channels_config(fit=replace(settings, epochs=0)))
