"""The levers of the stage program `train`, on the default case, without DVC."""

import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError
from tests.training.test_stage import run

QUICK = ("pipeline.code=[stages]", "model.channels=[8, 8]", "model.pool_after=[1]", "sparsify=none", "quantize=none")


def test_all_of_them_reach_a_target(tmp_path):
    levers = ("train.whitening_samples=200", "train.muon_learning_rate=0.02", "train.keep_freed_memory=true")
    target = ("train.to={accuracy: 0.5}", "train.checks_per_epoch=8", "train.epochs=3", "data.share=0.5")
    stage = run(tmp_path, *QUICK, *levers, *target, "train.batch_size=16")
    assert stage.metrics["reached"]
    assert stage.metrics["to"] == {"accuracy": 0.5}
    assert stage.metrics["accuracy"] >= 0.5
    assert any("whitens patches" in line for line in stage.lines)
    assert any("the target reached" in line for line in stage.lines)
    weight = models.load_model(stage.out(), trusted=[]).features[0][0].weight
    assert torch.equal(weight[0], -weight[1])


def test_the_batch_size_is_taken_from_those_that_are_listed(tmp_path):
    stage = run(tmp_path, *QUICK, "train.batch_sizes=[64, 256]", "train.epochs=4")
    assert any("needs the fewest joules per sample (64: " in line for line in stage.lines)


def test_a_missed_target_is_in_the_metrics(tmp_path):
    stage = run(tmp_path, *QUICK, "train.to={accuracy: 0.999}", "train.batch_size=128", "train.epochs=1")
    assert stage.metrics["reached"] is False
    assert any("the target not reached" in line for line in stage.lines)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.to={acuracy: 0.9}", "train.to={'acuracy': 0.9} names 'acuracy'"),
        ("train.to={accuracy: 0.9, loss: 1}", "must name one measure"),
        ("data.share=0", "data.share=0 must be above 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, *QUICK, override)
    assert not (tmp_path / "out").exists()


def test_two_optimizers_are_refused(tmp_path):
    own = "train.optimizer={_target_: torch.optim.SGD}"
    with pytest.raises(ConfigError, match=r"train.optimizer and train.muon_learning_rate are both set"):
        run(tmp_path, *QUICK, own, "train.muon_learning_rate=0.02")


def test_a_teacher_is_followed(tmp_path):
    run(tmp_path, *QUICK, "train.batch_size=128")
    taught = ("train.epochs=1", "train.learning_rate=0.001", f"train.teacher={tmp_path / 'out' / 'model'}")
    losses = [
        run(tmp_path / weight, *QUICK, *taught, f"train.distillation_weight={weight}").metrics["loss"]
        for weight in ("0", "1")
    ]
    assert losses[0] != losses[1]


def test_channels_are_not_removed_from_a_whitened_convolution(tmp_path):
    shrink = "train.shrink={amount: 0.3, at: [0.5]}"
    with pytest.raises(ConfigError, match=r"train.shrink removes channels for which train.whitening_samples keeps"):
        run(tmp_path, *QUICK, shrink, "train.whitening_samples=100")
