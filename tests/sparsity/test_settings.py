import importlib.metadata
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import nn

from overwinter.config import Project, check_settings, compose, validate
from overwinter.config.groups import SCHEMAS
from overwinter.errors import ConfigError
from overwinter.registries import SPARSIFIERS
from overwinter.sparsity import Channels, Magnitude, OneShot, SparsifyConfig
from overwinter.sparsity.settings import NoSparsifyConfig, SparseGptConfig, SparseTrainConfig, train_schema

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    ("key", "value"),
    [("amount", 1.0), ("amount_of", "weights"), ("ratio", "layer"), ("structures", ["rows"]), ("multiple_of", 0)],
)
def test_a_value_of_channels_out_of_range_is_named(channels_config, key, value):
    with pytest.raises(ConfigError, match=f"sparsify.{key}="):
        check(channels_config(**{key: value}))


def test_the_fine_tuning_is_checked_too(channels_config, settings):
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


def test_one_shot_has_no_fine_tuning(one_shot_config):
    check(one_shot_config())
    assert isinstance(one_shot_config().open(), OneShot)
    assert one_shot_config().fine_tuning() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount": 1.0}, r"sparsify\.amount=1\.0"),
        ({"amount": -0.1}, r"sparsify\.amount=-0\.1"),
        ({"score": "wandb"}, r"sparsify\.score='wandb' is unknown.* Did you mean 'wanda'"),
        ({"pattern": "4:2"}, r"sparsify\.pattern='4:2' is unknown"),
        ({"pattern": "1:4"}, r"sparsify\.pattern=1:4 removes 0\.75 .* Set sparsify\.amount=0\.75"),
        ({"pattern": "2:4", "scope": "global"}, "removes the same share of every layer"),
        ({"pattern": "2:4", "ratios": "erk"}, "removes the same share of every layer"),
        ({"pattern": "2:4", "score": "sparsegpt", "sparsegpt": SparseGptConfig(0.01, 6)}, "cuts groups of 4"),
        ({"scope": "global", "ratios": "erk"}, r"sparsify\.scope=global finds each layer's share itself"),
        ({"calibration_samples": 0}, r"sparsify\.score=wanda needs calibration"),
        ({"calibration_samples": 0, "score": "magnitude", "swaps": 2}, r"sparsify\.swaps=2 needs calibration"),
        ({"sparsegpt": SparseGptConfig(0.0, 128)}, r"sparsify\.sparsegpt\.dampening=0\.0"),
    ],
)
def test_one_shot_settings_that_contradict_each_other_are_refused(one_shot_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        check(one_shot_config(**changes))


def test_training_sparse_from_the_start_has_its_own_schema():
    assert train_schema({"sparse": {"amount": 0.9}}) is SparseTrainConfig
    assert train_schema({"epochs": 3}).__name__ == "TrainConfig"
    assert train_schema({"qat": {"rounding": "straight_through"}}).__name__ == "QatTrainConfig"
    with pytest.raises(ConfigError, match=r"train\.sparse and train\.qat cannot be trained together"):
        train_schema({"sparse": {}, "qat": {}})


def test_no_stage_may_train_again_what_was_sparse_from_the_start():
    project = Project(root=ROOT, configs=ROOT / "configs", config_name="config")
    train = validate(compose(project, ["train=rigl", "sparsify=none"])).train
    assert train.sparse_from_start().amount == 0.9
    with pytest.raises(ConfigError, match=r"sparsify\.method=channels would train the others too"):
        validate(compose(project, ["train=rigl"]))
    with pytest.raises(ConfigError, match=r"train\.sparse trains from fresh weights"):
        replace(train, method="pretrained").check("train")
    with pytest.raises(ConfigError, match=r"train\.sparse\.amount=1"):
        validate(compose(project, ["train=rigl", "sparsify=none", "train.sparse.amount=1"]))
