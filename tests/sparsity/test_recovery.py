import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.sparsity import FineTuningConfig, OneShot
from overwinter.tasks import Classification

TASK = Classification(["a", "b"])


@pytest.fixture
def dense(images):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16), nn.ReLU(), nn.Linear(16, 2)
    ).eval()


@pytest.fixture
def recovering(one_shot_config):
    def recovering(method, **changes):
        config = one_shot_config(score="magnitude")
        return replace(config, recovery=replace(config.recovery, method=method, **changes))

    return recovering


def pruned(config, dense, train):
    model, sparsifier = copy.deepcopy(dense), OneShot(config)
    hooks = sparsifier.prepare(model, train)
    return model, sparsifier, hooks


@pytest.mark.parametrize(("method", "unit"), [("distill", "nats"), ("reconstruct", "of the mean square")])
def test_what_was_kept_comes_closer_to_dense_and_the_report_says_how_far(recovering, dense, train, method, unit):
    model, sparsifier, hooks = pruned(recovering(method), dense, train)
    before = copy.deepcopy(model)
    sparsifier.recover(model, dense, TASK)
    report = sparsifier.report(model)
    assert list(hooks) == []
    assert report.recovered.method == method
    assert report.recovered.unit == unit
    assert report.recovered.after < 0.9 * report.recovered.before
    assert report.to_json()["recovered"]["after"] == report.recovered.after
    assert str(report.recovered).endswith(unit)
    assert not torch.equal(model[3].weight, before[3].weight)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor == 0, before.state_dict()[name] == 0)


def test_without_recovery_nothing_moves(recovering, dense, train):
    model, sparsifier, hooks = pruned(recovering("none"), dense, train)
    before = copy.deepcopy(model.state_dict())
    sparsifier.recover(model, dense, TASK)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert list(hooks) == []
    assert sparsifier.report(model).to_json()["recovered"] is None


def test_a_fine_tuning_holds_the_zeros(recovering, dense, train, settings):
    fine_tuning = FineTuningConfig(
        distillation_weight=0.5,
        distillation_temperature=2.0,
        distillation_features=[],
        distillation_feature_weight=1.0,
        fit=settings,
    )
    config = recovering("fit", fine_tuning=fine_tuning)
    model, _, (hook,) = pruned(config, dense, train)
    zeros = model[3].weight == 0
    with torch.no_grad():
        model[3].weight.add_(1.0)
    hook.after_step(1, 1)
    assert torch.equal(model[3].weight == 0, zeros)
    assert config.fine_tuning() is fine_tuning


def test_fine_tuning_and_its_settings_belong_together(recovering):
    with pytest.raises(ConfigError, match=r"sparsify\.recovery\.method=fit and sparsify\.recovery\.fine_tuning"):
        recovering("fit").check("sparsify")


@pytest.mark.parametrize("method", ["distill", "reconstruct"])
def test_recovery_without_samples_is_refused(recovering, method):
    config = replace(recovering(method), calibration_samples=0)
    with pytest.raises(ConfigError, match=rf"sparsify\.recovery\.method={method} needs calibration"):
        config.check("sparsify")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_quality_loss": 0.1, "min_amount": 0.5}, r"sparsify\.min_amount=0\.5 up to sparsify\.amount=0\.5"),
        ({"max_quality_loss": 0.1, "pattern": "2:4"}, r"sparsify\.pattern=2:4 fixes"),
    ],
)
def test_a_search_without_room_is_refused(one_shot_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        one_shot_config(**changes).check("sparsify")
    assert one_shot_config().amount_search() is None
