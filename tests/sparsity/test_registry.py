import importlib.metadata
from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from overwinter.config.groups import SparsifyConfig
from overwinter.errors import ConfigError
from overwinter.sparsity import Channels, Magnitude, open_sparsifier, registry


class Foreign:
    def __init__(self, config):
        self.config = config


def test_the_built_in_ones_are_found(magnitude_config, channels_config):
    assert isinstance(open_sparsifier(magnitude_config()), Magnitude)
    assert isinstance(open_sparsifier(channels_config()), Channels)


def test_none_changes_nothing_and_says_so(train):
    model = nn.Linear(3, 3)
    before = model.weight.clone()
    sparsifier = open_sparsifier(SparsifyConfig(version=1, method="none"))
    assert list(sparsifier.prepare(model, train)) == []
    assert torch.equal(model.weight, before)
    report = sparsifier.report(nn.Sequential(model))
    assert report.reached == 0.0
    assert report.left_alone == {}


def test_a_third_partys_is_found_by_its_entry_point(monkeypatch):
    point = EntryPoint(name="foreign", value=f"{__name__}:Foreign", group=registry.SPARSIFIERS.group)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [point] if group == registry.SPARSIFIERS.group else []
    )
    config = SparsifyConfig(version=1, method="foreign")
    assert open_sparsifier(config).config is config


def test_an_unknown_one_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"sparsify\.method='chanels' is unknown.* Did you mean 'channels'"):
        open_sparsifier(SparsifyConfig(version=1, method="chanels"))
