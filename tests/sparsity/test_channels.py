import pytest
import torch
from torch import nn

from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError
from overwinter.models import build_model, count_parameters, load_model, own_models, save_model
from overwinter.signature import Signature
from overwinter.sparsity import Channels, find_channel_groups, flops_per_sample
from overwinter.sparsity.channels import working_groups
from overwinter.sparsity.surgery import Cut, remove_channels
from tests.sparsity import zoo
from tests.sparsity.test_dependencies import FOUND, IMAGES


@pytest.mark.parametrize("kind", sorted(set(FOUND) - {"HardCoded"}))
def test_half_of_the_channels_are_really_gone_and_the_model_is_rebuilt(kind, channels_config, train, tmp_path):
    model = zoo.new(kind)
    before = count_parameters(model)
    sparsifier = Channels(channels_config())
    assert list(sparsifier.prepare(model, train)) == []
    report = sparsifier.report(model)
    assert {layer.name for layer in report.layers} == set().union(*FOUND[kind])
    assert report.reached == pytest.approx(0.5)
    assert count_parameters(model) < before
    config = {"_target_": "tests.sparsity.zoo.new", "kind": kind}
    save_model(
        tmp_path, model, variant="sparse", model_config=config, signature=Signature.of_one([3, 8, 8]), lineage={}
    )
    with torch.no_grad():
        with own_models():
            loaded = load_model(tmp_path, trusted=["tests.sparsity.zoo"])
        assert torch.equal(loaded(IMAGES), model(IMAGES))


@pytest.mark.parametrize("kind", ["Auxiliary", "Regularized", "Asserting", "WeightNormed", "WeightNormedByHooks"])
def test_a_model_whose_channels_were_removed_can_be_fine_tuned(kind, channels_config, train):
    model = zoo.new(kind)
    statistics = [tensor.clone() for tensor in model.buffers()]
    Channels(channels_config()).prepare(model, train)
    assert not any(module.training for module in model.modules())
    assert all(map(torch.equal, statistics, model.buffers()))
    model.train()(IMAGES).sum().backward()


def test_removal_that_breaks_the_model_is_undone_and_listed(channels_config, train):
    model = zoo.new("HardCoded")
    expected = model(IMAGES)
    sparsifier = Channels(channels_config())
    sparsifier.prepare(model, train)
    assert torch.equal(model(IMAGES), expected)
    report = sparsifier.report(model)
    assert "cannot be run without some of its channels" in report.left_alone["first"]
    assert report.layers == ()
    assert report.reached == 0.0


def test_at_least_one_channel_stays(channels_config, train):
    model = zoo.new("Plain")
    Channels(channels_config(amount=0.99)).prepare(model, train)
    assert (model.first.out_channels, model.second.out_channels, model.hidden.out_features) == (1, 1, 1)


def test_skipped_layers_are_left_whole(channels_config, train):
    model = zoo.new("Plain")
    sparsifier = Channels(channels_config(skip=["sec*"]))
    sparsifier.prepare(model, train)
    assert model.second.out_channels == 6
    assert sparsifier.report(model).left_alone["second"] == "named in sparsify.skip"


def test_a_pattern_that_matches_nothing_is_refused(channels_config, train):
    with pytest.raises(ConfigError, match="matches no layer"):
        Channels(channels_config(skip=["third"])).prepare(zoo.new("Plain"), train)


def test_channels_that_no_one_listens_to_go_first(channels_config, train):
    model = zoo.new("Plain")
    with torch.no_grad():
        model.second.weight[:, [0, 3, 5, 7]] = 0.0
        expected = model(IMAGES)
    Channels(channels_config(skip=["second", "hidden"])).prepare(model, train)
    with torch.no_grad():
        assert torch.allclose(model(IMAGES), expected, atol=1e-5)


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
    model = zoo.new("Raising")
    sparsifier = Channels(channels_config())
    assert list(sparsifier.prepare(model, train)) == []
    assert sparsifier.report(model).reached == 0.0


def test_only_the_structures_that_are_named_go(channels_config, train):
    model = zoo.new("Attention")
    sparsifier = Channels(channels_config(structures=["heads"]))
    sparsifier.prepare(model, train)
    report = sparsifier.report(model)
    assert {layer.name: layer.after for layer in report.layers} == {"query": 16, "key": 8, "value": 8}
    assert report.left_alone["out"] == "sparsify.structures does not name neurons"


def test_a_share_of_the_operations_is_reported(channels_config, train):
    model = zoo.new("Plain")
    sparsifier = Channels(channels_config(amount=0.6, amount_of="flops"))
    sparsifier.prepare(model, train)
    content = sparsifier.report(model).to_json()
    before, after = content["flops_per_sample"]["before"], content["flops_per_sample"]["after"]
    assert after == flops_per_sample(model, IMAGES) <= 0.4 * before
    assert content["asked_of"] == "flops"


def test_a_channel_that_is_picked_by_its_number_is_not_taken_for_another(channels_config, train):
    class Picking(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Conv2d(3, 8, 1), nn.Linear(64, 2)

        def forward(self, images):
            return self.head(self.first(images)[:, 0].flatten(1))

    sparsifier = Channels(channels_config())
    sparsifier.prepare(Picking().eval(), train)
    assert "picks some of its channels by their numbers" in sparsifier.report(Picking()).left_alone["first"]


class Padded(nn.Module):
    """torch's own encoder on sequences of which some end early."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)
        self.head = nn.Linear(16, 2)

    def forward(self, states):
        states = self.encoder(states, src_key_padding_mask=states.sum(-1) == 0)
        return self.head(states[:, 0])


def test_heads_of_torchs_own_encoder_go_and_padding_still_counts_for_nothing(channels_config):
    torch.manual_seed(0)
    model, states = Padded().eval(), torch.randn(8, 5, 16)
    states[:4, 3:] = 0.0
    sparsifier = Channels(channels_config(amount=0.5, amount_of="flops"))
    sparsifier.prepare(model, Split(InMemory(states, torch.zeros(8, dtype=torch.int64))))
    report = sparsifier.report(model)
    assert report.flops[1] <= 0.5 * report.flops[0]
    attention = [layer for layer in report.layers if "self_attn" in layer.name]
    assert [layer.before for layer in attention] == [48, 48]
    assert all(layer.after < 48 for layer in attention)
    with torch.no_grad():
        torch.testing.assert_close(model(states)[:4], model(states[:4, :3]))


class Decoding(nn.Module):
    """torch's own decoder, whose second attention reads other states, and returns weights that are not used."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), nn.Linear(16, 2)
        self.last = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, states):
        states = self.layer(states, states.roll(1, dims=1))
        return self.head(self.last(states, states, states)[0]).mean(1)


def test_heads_of_torchs_own_decoder_go_again_from_what_is_left():
    model, states = Decoding().eval(), torch.randn(4, 5, 16)
    for count in (4, 2):
        groups, left_alone = find_channel_groups(model, states)
        heads = [group for group in working_groups(model, groups, states, left_alone) if group.kind == "heads"]
        assert {group.name: group.count for group in heads} == dict.fromkeys(
            ("layer.self_attn", "layer.multihead_attn", "last"), count
        )
        remove_channels(model, [Cut(group=group, keep=torch.arange(0, count, 2)) for group in heads])
    assert model.last.num_heads == 1
    assert model(states).shape == (4, 2)


class OwnAttention(nn.MultiheadAttention):
    pass


@pytest.mark.parametrize("attention", [OwnAttention(16, 4), nn.MultiheadAttention(16, 4, add_zero_attn=True)])
def test_heads_of_attention_with_more_to_it_stay_with_the_reason(attention, channels_config):
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = attention, nn.Linear(16, 2)

        def forward(self, states):
            return self.head(self.attention(states, states, states)[0]).mean(1)

    model, sparsifier = Attending().eval(), Channels(channels_config())
    sparsifier.prepare(model, Split(InMemory(torch.randn(8, 5, 16), torch.zeros(8, dtype=torch.int64))))
    assert "its heads stay" in sparsifier.report(model).left_alone["attention"]
