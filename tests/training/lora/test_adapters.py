"""Adapters beside a model's layers: only they are trained, and what is saved is one model."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.training import add_adapters
from overwinter.training.lora.settings import LoraConfig, LoraTrainConfig
from tests.support.settings import fit_settings
from tests.training.conftest import split

pytest.importorskip("peft", reason="the extra lora is not installed")

LORA = LoraConfig(rank=2, alpha=4, dropout=0.0, targets=[], whole=[])
SETTINGS = LoraTrainConfig(**vars(fit_settings(warmup_fraction=0.0)), version=1, lora=LORA)
IMAGES = split(4, 1).first(4)[0]


def adapted(model, images=IMAGES, **changes):
    return add_adapters(model, replace(SETTINGS, lora=replace(LORA, **changes)), images, seed=0)


class Attending(nn.Module):
    """Attention of torch, whose weights its own function reads, a grouped convolution, and two tied layers."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.grouped = nn.Conv1d(8, 8, 1, groups=2)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.head = nn.Linear(8, 2)

    def forward(self, states):
        states = self.attention(states, states, states)[0]
        return self.head(self.second(self.first(self.grouped(states.mT).mT))).mean(1)


def test_it_computes_what_it_did_and_nothing_else_is_trained(new_model):
    model = new_model().eval()
    before = model(IMAGES)
    adapters = adapted(model)
    assert torch.equal(model(IMAGES), before)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in trained)
    assert adapters.trained == 2 * (9 + 4) + 2 * (64 + 2)


def test_merged_it_has_its_own_layers_again_and_computes_the_same(new_model, fit, train):
    whole, plain = new_model(), new_model().state_dict()
    adapters = adapted(whole)
    result = fit(model=whole, learning_rate=0.05, epochs=2)
    learned = result.model(IMAGES)
    adapters.merge()
    assert list(result.model.state_dict()) == list(plain)
    assert torch.allclose(result.model(IMAGES), learned, atol=1e-6)
    assert not torch.equal(result.model[5].weight, plain["5.weight"])
    assert torch.equal(result.model[5].bias, plain["5.bias"])  # frozen: an adapter has no bias
    assert all(parameter.requires_grad for parameter in result.model.parameters())


def test_a_fit_that_is_stopped_goes_on_with_the_bits_of_one_that_was_not(new_model, fit, tmp_path):
    def trained(**changes):
        model = new_model()
        adapters = adapted(model, dropout=0.2)
        result = fit(model=model, epochs=3, precision="bf16", **changes)
        adapters.merge()
        return result

    def stop(done, _total, **_figures):
        if done == 5:
            raise KeyboardInterrupt

    undisturbed = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(checkpoints=tmp_path, progress=stop)
    kept = next(tmp_path.glob("*.safetensors")).read_bytes()
    resumed = trained(checkpoints=tmp_path)
    assert resumed.resumed
    for name, tensor in undisturbed.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert b"base_layer.weight" not in kept  # what is frozen is no part of a checkpoint


def test_layers_are_chosen_by_name_and_a_new_head_is_trained_whole(new_model):
    model = new_model()
    model.fresh = ("5.weight", "5.bias")
    adapters = adapted(model, targets=["0"])
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.partition(".lora_")[0] for name in trained} == {"0", "5.weight", "5.bias"}
    assert adapters.left_alone["5"] == "it is trained whole"
    with_norm = new_model()
    adapted(with_norm, whole=["1"])
    assert with_norm[1].weight.requires_grad


def test_layers_that_can_have_none_are_named():
    states = torch.randn(3, 5, 8)
    left = adapted(Attending(), states).left_alone
    assert left["grouped"] == "it is a grouped convolution"
    assert left["first"] == "its weight is another layer's too"
    assert left["attention.out_proj"].startswith("its weight is read by other code")
    with pytest.raises(ConfigError, match=r"train.lora.targets names 'first', which fits no layer that can have"):
        adapted(Attending(), states, targets=["first"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["6"]}, "train.lora.targets names '6', which fits no layer.* Layers: 0, 5"),
        ({"whole": ["head"]}, "train.lora.whole names 'head', which fits no layer"),
        ({"whole": ["0", "5"]}, "train.lora finds no layer for an adapter: .*it is trained whole"),
    ],
)
def test_names_that_fit_nothing_are_refused(new_model, changes, message):
    with pytest.raises(ConfigError, match=message):
        adapted(new_model(), **changes)


def test_without_the_setting_a_model_stays_as_it_is(new_model, settings, tmp_path):
    model = new_model()
    adapters = add_adapters(model, settings, IMAGES, seed=0)
    adapters.merge()
    adapters.save(tmp_path / "adapters")
    assert adapters.trained is None
    assert not list((tmp_path / "adapters").iterdir())
    assert all(parameter.requires_grad for parameter in model.parameters())
