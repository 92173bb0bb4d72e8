import importlib.metadata
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from overwinter.config import check_settings
from overwinter.config.groups import SCHEMAS
from overwinter.errors import ConfigError
from overwinter.registries import SPARSIFIERS
from overwinter.sparsity import Channels, Magnitude, SparsifyConfig
from overwinter.sparsity.settings import NoSparsifyConfig


def check(chosen):
    check_settings(chosen, key="sparsify")
    chosen.check("sparsify")


def test_good_settings_pass(magnitude_config, channels_config):
    check(magnitude_config())
    check(channels_config())
    check(NoSparsifyConfig(version=1, method="none"))


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


def test_the_built_in_ones_are_found(magnitude_config, channels_config):
    assert isinstance(magnitude_config().open(), Magnitude)
    assert isinstance(channels_config().open(), Channels)


def test_none_changes_nothing_and_says_so(train):
    model = nn.Linear(3, 3)
    before = model.weight.clone()
    sparsifier = NoSparsifyConfig(version=1, method="none").open()
    assert list(sparsifier.prepare(model, train)) == []
    assert torch.equal(model.weight, before)
    report = sparsifier.report(nn.Sequential(model))
    assert report.reached == 0.0
    assert report.left_alone == {}


@dataclass
class Foreign(SparsifyConfig):
    def open(self):
        return self.method


def test_a_third_partys_is_found_by_its_entry_point(monkeypatch):
    point = EntryPoint(name="foreign", value=f"{__name__}:Foreign", group=SPARSIFIERS.group)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    assert SCHEMAS["sparsify"]({"method": "foreign"}) is Foreign


def test_an_unknown_one_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"sparsify\.method='chanels' is unknown.* Did you mean 'channels'"):
        SCHEMAS["sparsify"]({"method": "chanels"})
