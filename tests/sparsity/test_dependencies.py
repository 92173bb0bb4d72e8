import pytest
import torch
from torch import nn

from overwinter.sparsity import find_channel_groups
from tests.sparsity import zoo

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
# The layers that make the channels of each group.
FOUND = {
    "Plain": [{"first"}, {"second"}, {"hidden"}],
    "Depthwise": [{"expand", "spatial"}, {"project"}],
    "Branches": [{"stem"}, {"left", "right"}],
    "Concatenated": [{"stem"}, {"left"}, {"right"}],
    "Shared": [{"second"}],
    "Viewed": [{"first"}],
    "HardCoded": [{"first"}],
    "Tokens": [{"up"}, {"down"}],
    "Grouped": [{"first"}, {"grouped"}],
    "Auxiliary": [{"first"}, {"second"}],
    "Regularized": [{"second"}],
    "Excited": [{"expand", "spatial", "excite"}, {"squeeze"}],
    "Gated": [{"gate", "up"}, {"pool"}],
    "SelfGated": [{"up"}],
    "ConvNextBlock": [{"up"}],
    "Permuted": [{"first"}],
    "UNet": [{"left"}, {"before"}, {"low"}, {"deep"}, {"up"}, {"after"}],
    "Encoder": [{"encoder.layers.0.self_attn"}, {"encoder.layers.0.linear1"}, {"attention"}, {"hidden"}],
    "Attention": [{"query", "key", "value"}, {"out"}],
    "Fused": [{"qkv"}],
    "Residual": [{"stem", "outer"}, {"inner"}, {"grow"}],
}
REASONS = {
    "Plain": {"head": "the model's output"},
    "Shared": {"first": "first takes in what stays"},
    "Tied": {"first": "first takes in what stays", "second": "first takes in what stays"},
    "Dynamic": {"head": "the model's output"},
    "Softmaxed": {"first": "softmax, which may mix channels"},
    "Functional": {"head": "the model's output"},
    "Regularized": {"first": "its output goes through mean, which may mix channels"},
    "Asserting": {"first": "its output goes through sum, which may mix channels"},
    "Excited": {"project": r"combined with another tensor \(add\)"},
    "ConvNextBlock": {"down": r"combined with another tensor \(mul\)", "spatial": "a channel for each of its input"},
    "Encoder": {
        "encoder.layers.0.linear2": "combined with another tensor",
        "encoder.layers.0.self_attn.out_proj": "makes as many features as it takes in",
    },
    "Fused": {"out": "combined with another tensor"},
    "Raising": {"first": r"the model cannot be run in training mode \(this batch"},
    "WeightNormed": {"first": "first cannot be cut: its weight is computed", "second": "third cannot be cut"},
    "WeightNormedByHooks": {"first": "first cannot be cut: its weight is computed", "second": "third cannot be cut"},
}


@pytest.mark.parametrize("kind", FOUND)
def test_the_channels_that_can_be_removed_are_found(kind):
    groups, _ = find_channel_groups(zoo.new(kind), IMAGES)
    assert [set(group.producers) for group in groups] == FOUND[kind]


@pytest.mark.parametrize("kind", REASONS)
def test_what_is_left_alone_has_its_reason(kind):
    model = zoo.new(kind)
    if kind == "Raising":
        model.batches = 3
    _, left_alone = find_channel_groups(model, IMAGES)
    for layer, reason in REASONS[kind].items():
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(left_alone[layer])


@pytest.mark.parametrize("kind", FOUND)
def test_every_layer_is_in_a_group_or_has_a_reason(kind):
    model = zoo.new(kind)
    groups, left_alone = find_channel_groups(model, IMAGES)
    made = {name for group in groups for name in group.producers}
    weighted = {name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    assert weighted <= made | set(left_alone)
    assert not made & set(left_alone)


def test_heads_are_whole_with_all_queries_that_read_them():
    groups, _ = find_channel_groups(zoo.new("Attention"), IMAGES)
    heads, features = groups
    assert (heads.kind, heads.count, features.kind, features.count) == ("heads", 2, "neurons", 12)
    sizes = {(place.layer, place.dimension): tuple(place.indices.shape) for place in heads.places}
    assert sizes["query", 0] == sizes["out", 1] == (2, 16)
    assert sizes["key", 0] == sizes["value", 0] == (2, 8)


def test_heads_of_a_layer_for_queries_keys_and_values_are_found_in_all_three():
    groups, _ = find_channel_groups(zoo.new("Fused"), IMAGES)
    (heads,) = groups
    assert (heads.kind, heads.count) == ("heads", 4)
    first = next(place.indices[0].tolist() for place in heads.places if place.is_made)
    assert first == [*range(4), *range(16, 20), *range(32, 36)]


def test_places_in_equal_groups_go_together():
    groups, _ = find_channel_groups(zoo.new("Grouped"), IMAGES)
    assert [group.count for group in groups] == [4, 4]
    assert next(place.indices[1].tolist() for place in groups[0].places if place.is_made) == [1, 5]


def test_a_single_head_is_left():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 1), nn.Linear(1, 2)).eval()
    groups, left_alone = find_channel_groups(model, IMAGES)
    assert groups == []
    assert "nothing would be left" in left_alone["1"]


def test_the_model_is_not_changed():
    model = zoo.new("Plain")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    find_channel_groups(model, IMAGES)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not model.training
