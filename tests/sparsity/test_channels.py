import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from overwinter.errors import ConfigError
from overwinter.models import build_model, count_parameters, load_model, own_models, save_model
from overwinter.signature import Signature
from overwinter.sparsity import Channels, find_channel_groups
from overwinter.sparsity.surgery import channel_importance, keep_channels, silence_channels

_SPEC = importlib.util.spec_from_file_location("zoo", Path(__file__).with_name("zoo.py"))
zoo = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(zoo)

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def new(kind):
    """A model whose normalisations have seen something, so that they are no identities."""
    torch.manual_seed(1)
    model = getattr(zoo, kind)().train()
    for _ in range(3):
        model(torch.randn(6, 3, 8, 8) * 2 + 1)
    return model.eval()


FOUND = {
    "Plain": {"first", "second", "hidden"},
    "Depthwise": {"expand", "project"},
    "Branches": {"stem"},
    "Concatenated": {"stem"},
    "Shared": {"second"},
    "Viewed": {"first"},
    "HardCoded": {"first"},
    "Tokens": {"up"},
    "Auxiliary": {"second"},
    "Regularized": {"second"},
    "Excited": {"expand", "squeeze", "excite"},
    "Gated": {"gate", "up", "pool"},
    "SelfGated": {"up"},
    "ConvNextBlock": {"up"},
    "Permuted": {"first"},
    "UNet": {"left", "low", "after"},
    "Encoder": {"encoder.layers.0.linear1", "hidden"},
}
REASONS = {
    "Plain": {"head": "the model's output"},
    "Depthwise": {"spatial": "channels of the layer before", "head": "the model's output"},
    "Branches": {"left": r"combined with another layer's \(add\)", "right": "combined"},
    "Concatenated": {"left": r"combined with another layer's \(cat\)", "right": "combined"},
    "Shared": {"first": "first is used more than once"},
    "Tied": {"first": "more than once", "second": "more than once"},
    "Dynamic": {"head": "the model's output"},
    "Softmaxed": {"first": "softmax, which may mix channels"},
    "Tokens": {"down": "flatten, which may mix channels"},
    "Grouped": {"first": "takes its channels in groups", "grouped": "2 groups must stay equal"},
    "Functional": {"first": "not called as a layer of its own"},
    "Auxiliary": {"first": "its output goes to helper in one of training and evaluation mode only"},
    "Regularized": {"first": "in training mode, its output goes through mean, which may mix channels"},
    "Asserting": {"first": "in training mode, its output goes through sum, which may mix channels"},
    "Excited": {"project": r"combined with another layer's \(add\)", "spatial": "channels of the layer before"},
    "Gated": {"down": r"combined with another layer's \(add\)"},
    "ConvNextBlock": {"down": r"combined with another layer's \(mul\)", "spatial": "channels of the layer before"},
    "UNet": {
        "before": r"\(cat\)",
        "deep": "up, a ConvTranspose2d",
        "up": "channels of a ConvTranspose2d are not removed",
    },
    "Encoder": {
        "encoder.layers.0.linear2": "encoder.layers.0.norm2, a LayerNorm, which may mix channels",
        "encoder.layers.0.self_attn.out_proj": "not called as a layer of its own",
    },
    "Raising": {"first": r"the model cannot be run in training mode \(this batch"},
    "WeightNormed": {"first": "first cannot be cut: its weight is computed", "second": "third cannot be cut"},
    "WeightNormedByHooks": {"first": "first cannot be cut: its weight is computed", "second": "third cannot be cut"},
}


@pytest.mark.parametrize("kind", FOUND)
def test_the_channels_that_can_be_removed_are_found(kind):
    groups, _ = find_channel_groups(new(kind), IMAGES)
    assert {name for group in groups for name in group.producers} == FOUND[kind]


@pytest.mark.parametrize("kind", REASONS)
def test_what_is_left_alone_has_its_reason(kind):
    _, left_alone = find_channel_groups(new(kind), IMAGES)
    for layer, reason in REASONS[kind].items():
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(left_alone[layer])


@settings(max_examples=20)
@given(kind=st.sampled_from(sorted(set(FOUND) - {"HardCoded"})), seed=st.integers(0, 1000))
def test_removed_channels_give_the_answers_of_a_masked_model(kind, seed):
    model = new(kind)
    generator = torch.Generator().manual_seed(seed)
    smaller, masked = copy.deepcopy(model), copy.deepcopy(model)
    for group in find_channel_groups(model, IMAGES)[0]:
        count = int(torch.randint(1, group.count + 1, (), generator=generator))
        keep = torch.randperm(group.count, generator=generator)[:count].sort().values
        keep_channels(smaller, group, keep)
        silence_channels(masked, group, keep)
    with torch.no_grad():
        assert torch.allclose(smaller(IMAGES), masked(IMAGES), atol=1e-5)


@pytest.mark.parametrize("kind", sorted(set(FOUND) - {"HardCoded"}))
def test_half_of_the_channels_are_really_gone_and_the_model_is_rebuilt(kind, channels_config, train, tmp_path):
    model = new(kind)
    before = count_parameters(model)
    sparsifier = Channels(channels_config())
    assert list(sparsifier.prepare(model, train)) == []
    report = sparsifier.report(model)
    assert {layer.name for layer in report.layers} == FOUND[kind]
    assert report.reached == pytest.approx(0.5)
    assert count_parameters(model) < before
    config = {"_target_": f"{__name__}.new", "kind": kind}
    save_model(
        tmp_path, model, variant="sparse", model_config=config, signature=Signature.of_one([3, 8, 8]), lineage={}
    )
    with torch.no_grad():
        with own_models():
            loaded = load_model(tmp_path, trusted=[__name__])
        assert torch.equal(loaded(IMAGES), model(IMAGES))


@pytest.mark.parametrize("kind", ["Auxiliary", "Regularized", "Asserting", "WeightNormed", "WeightNormedByHooks"])
def test_a_model_whose_channels_were_removed_can_be_fine_tuned(kind, channels_config, train):
    model = new(kind)
    statistics = [tensor.clone() for tensor in model.buffers()]
    Channels(channels_config()).prepare(model, train)
    assert not any(module.training for module in model.modules())
    assert all(map(torch.equal, statistics, model.buffers()))
    model.train()(IMAGES).sum().backward()


def test_removal_that_breaks_the_model_is_undone_and_listed(channels_config, train):
    model = new("HardCoded")
    expected = model(IMAGES)
    sparsifier = Channels(channels_config())
    sparsifier.prepare(model, train)
    assert torch.equal(model(IMAGES), expected)
    report = sparsifier.report(model)
    assert "cannot be run without some of its channels" in report.left_alone["first"]
    assert report.layers == ()
    assert report.reached == 0.0


def test_at_least_one_channel_stays(channels_config, train):
    model = new("Plain")
    Channels(channels_config(amount=0.99)).prepare(model, train)
    assert (model.first.out_channels, model.second.out_channels, model.hidden.out_features) == (1, 1, 1)


def test_skipped_layers_are_left_whole(channels_config, train):
    model = new("Plain")
    sparsifier = Channels(channels_config(skip=["sec*"]))
    sparsifier.prepare(model, train)
    assert model.second.out_channels == 6
    assert sparsifier.report(model).left_alone["second"] == "named in sparsify.skip"


def test_a_pattern_that_matches_nothing_is_refused(channels_config, train):
    with pytest.raises(ConfigError, match="matches no layer"):
        Channels(channels_config(skip=["third"])).prepare(new("Plain"), train)


def test_channels_that_no_one_listens_to_go_first(channels_config, train):
    model = new("Plain")
    with torch.no_grad():
        model.second.weight[:, [0, 3, 5, 7]] = 0.0
        expected = model(IMAGES)
    group = next(each for each in find_channel_groups(model, IMAGES)[0] if each.name == "first")
    assert channel_importance(model, group)[[0, 3, 5, 7]].tolist() == [0.0] * 4
    Channels(channels_config(skip=["second", "hidden"])).prepare(model, train)
    with torch.no_grad():
        assert torch.allclose(model(IMAGES), expected, atol=1e-5)


def test_a_silent_normalisation_makes_a_channel_unimportant():
    model = new("Plain")
    with torch.no_grad():
        model.norm.weight[2] = 0.0
    group = next(each for each in find_channel_groups(model, IMAGES)[0] if each.name == "first")
    assert channel_importance(model, group).argmin() == 2


def test_the_built_in_network_is_halved_throughout(channels_config, train):
    config = {
        "_target_": "overwinter.models.ConvNet",
        "input_shape": [3, 8, 8],
        "classes": 2,
        "channels": [8, 12],
        "pool_after": [1],
    }
    model = build_model(config, trusted=[]).eval()
    sparsifier = Channels(channels_config())
    sparsifier.prepare(model, train)
    report = sparsifier.report(model)
    assert [(layer.before, layer.after) for layer in report.layers] == [(8, 4), (12, 6)]
    assert list(report.left_alone) == ["head"]
    assert model.head.in_features == 6
    assert isinstance(model.features[0][1], nn.BatchNorm2d)
    assert model.features[0][1].num_features == 4


def test_a_model_that_cannot_be_trained_is_left_whole(channels_config, train):
    model = new("Raising")
    sparsifier = Channels(channels_config())
    assert list(sparsifier.prepare(model, train)) == []
    assert sparsifier.report(model).reached == 0.0
