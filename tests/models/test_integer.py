import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.errors import ConfigError, IntegrityError
from overwinter.models import (
    Grid,
    IntegerConv2d,
    IntegerEmbedding,
    IntegerLinear,
    build_model,
    count_parameters,
    counted_sparsity,
    integer_layers,
    integer_type,
    load_description,
    load_model,
    replace_layer,
    save_model,
    stored_bytes,
    twin,
)
from overwinter.models.swapping import swap_in
from overwinter.signature import Signature

INT8 = Grid(bits=8)
INT4 = Grid(bits=4, group_size=5, symmetric=False)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.inner = nn.Linear(6, 6)
        self.again = self.inner
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.again(self.inner(self.embedding(tokens))))


def quantized(model: nn.Module, grid: Grid, **options) -> nn.Module:
    for name, layer in list(model.named_modules()):
        variant = integer_type(layer)
        if variant is not None:
            replace_layer(model, name, variant.from_float(layer, grid, **options))
    return model


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("grid", [INT8, INT4, Grid(bits=3), Grid(bits=8, symmetric=False)])
@pytest.mark.parametrize("activations", [None, "dynamic", "static"])
@pytest.mark.parametrize("smoothed", [False, True])
def test_a_round_trip_is_bit_identical(convnet, config, images, tmp_path, grid, compact, activations, smoothed):
    grid = dataclasses.replace(grid, compact=compact)
    quantized(convnet, grid, activations=activations)
    if smoothed:
        head = nn.Linear(6, 3)
        convnet.head = IntegerLinear.from_float(head, grid, smoothing=torch.rand(6) + 0.5)
    if activations == "static":
        for layer in integer_layers(convnet).values():
            if layer.activations == "static":
                layer.set_activation_range(-1.0, 2.0)
    save_model(tmp_path, convnet, variant="int", model_config=config, signature=Signature.of_one([1, 8, 8]), lineage={})
    loaded = load_model(tmp_path, trusted=[])
    assert list(integer_layers(loaded)) == ["features.0.0", "features.2.0", "head"]
    for name, tensor in convnet.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert torch.equal(loaded(images), convnet(images))


def test_the_description_says_how_each_layer_is_stored(convnet, config, tmp_path):
    convnet.head = IntegerLinear.from_float(convnet.head, INT4, activations="dynamic")
    saved = save_model(
        tmp_path,
        convnet,
        variant="int4",
        model_config=config,
        signature=Signature.of_one([1, 8, 8]),
        lineage={},
        quantization={"a": 1},
    )
    assert saved["quantization"] == {
        "a": 1,
        "layers": {
            "head": {
                "bits": 4,
                "group_size": 5,
                "symmetric": False,
                "compact": False,
                "activations": "dynamic",
                "activation_bits": 8,
                "activation_group_size": None,
                "smoothed": False,
                "shape": [3, 6],
            }
        },
    }
    assert saved["tensors"]["head.codes"]["shape"] == [3, 3]
    assert load_description(tmp_path) == saved


def test_integer_weights_are_counted(convnet):
    before, sparse = count_parameters(convnet), torch.zeros_like(convnet.head.weight)
    with torch.no_grad():
        convnet.head.weight.copy_(sparse)
    zeros = counted_sparsity(convnet)
    quantized(convnet, INT8)
    assert count_parameters(convnet) == before
    assert counted_sparsity(convnet) >= zeros > 0


def test_trained_grids_of_a_float_model_are_kept(convnet, config, tmp_path):
    aware = {"head": {"bits": 4}}
    save_model(
        tmp_path,
        convnet,
        variant="dense",
        model_config=config,
        signature=Signature.of_one([1, 8, 8]),
        lineage={},
        quantization_aware=aware,
    )
    assert load_description(tmp_path)["quantization_aware"] == aware


def test_a_tied_weight_stays_with_the_other_and_a_layer_used_twice_is_one(tmp_path):
    model = quantized(Tied(), INT8)
    assert model.inner is model.again
    config = {"_target_": f"{__name__}.Tied"}
    save_model(tmp_path, model, variant="int8", model_config=config, signature=Signature.of_one([2]), lineage={})
    loaded = load_model(tmp_path, trusted=[__name__])
    tokens = torch.tensor([[1, 5]])
    assert loaded.inner is loaded.again
    assert torch.equal(loaded.embedding.weight, model.embedding.weight)
    assert torch.equal(loaded(tokens), model(tokens))


def test_removed_channels_are_rebuilt(convnet, config, images, tmp_path):
    from overwinter.models import replace_tensors

    convnet.head = nn.Linear(5, 3)
    norm = convnet.features[2][1]
    replace_tensors(convnet.features[2][0], {"weight": convnet.features[2][0].weight.detach()[:5].clone()})
    replace_tensors(norm, {name: getattr(norm, name).detach()[:5].clone() for name in ("weight", "bias")})
    replace_tensors(norm, {name: getattr(norm, name)[:5].clone() for name in ("running_mean", "running_var")})
    quantized(convnet, INT4)
    save_model(
        tmp_path, convnet, variant="int4", model_config=config, signature=Signature.of_one([1, 8, 8]), lineage={}
    )
    assert torch.equal(load_model(tmp_path, trusted=[])(images), convnet(images))


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
@pytest.mark.parametrize("padding", [1, "same"])
def test_a_convolution_is_the_float_one_with_the_decoded_weight(mode, padding):
    layer = nn.Conv2d(4, 6, 3, padding=padding, padding_mode=mode, groups=2, dilation=2)
    integer = IntegerConv2d.from_float(layer, INT8)
    inputs = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        layer.weight.copy_(integer.weight())
    torch.testing.assert_close(integer(inputs), layer(inputs))


def test_dynamic_ranges_are_of_each_token_and_hold_zero():
    integer = IntegerLinear.from_float(nn.Linear(4, 2), INT8, activations="dynamic")
    small = torch.tensor([[0.1, 0.2, 0.3, 0.25]])
    alone = integer.quantized_input(small)
    batched = integer.quantized_input(torch.cat([small, 100 * small]))[:1]
    assert torch.equal(alone, batched)
    assert float((alone - small).abs().max()) <= 0.3 / 255 / 2 + 1e-7
    assert torch.equal(integer.quantized_input(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_grouped_ranges_are_of_each_part_of_a_token_and_survive_a_round_trip(tmp_path):
    layer = nn.Linear(5, 2)
    integer = IntegerLinear.from_float(layer, INT8, activations="dynamic", activation_group_size=3)
    inputs = torch.tensor([[1000.0, -200.0, 0.0, 1.0, 0.004]])
    rounded = integer.quantized_input(inputs)
    assert torch.allclose(rounded[:, :3], inputs[:, :3], atol=4.0)
    assert torch.allclose(rounded[:, 3:], inputs[:, 3:], atol=0.004)  # not drowned by the first three
    empty = nn.Sequential(nn.Linear(5, 2))
    swap_in(empty, {"0": integer.describe()})
    empty[0].load_state_dict(integer.state_dict(), assign=True)
    assert torch.equal(empty(inputs), integer(inputs))


@pytest.mark.parametrize(("layer", "activations"), [(nn.Conv2d(1, 1, 1), "dynamic"), (nn.Linear(2, 2), "static")])
def test_grouped_ranges_are_of_dynamic_linear_layers_only(layer, activations):
    variant = integer_type(layer)
    with pytest.raises(ConfigError, match=r"activation_group_size=2 is for dynamic activations of Linear"):
        variant.from_float(layer, INT8, activations=activations, activation_group_size=2)


def test_static_ranges_clip():
    integer = IntegerLinear.from_float(nn.Linear(3, 2), INT8, activations="static")
    integer.set_activation_range(-1.0, 1.55)
    got = integer.quantized_input(torch.tensor([[-5.0, 0.0, 9.0]]))
    torch.testing.assert_close(got, torch.tensor([[-1.0, 0.0, 1.55]]))
    with pytest.raises(ConfigError, match="no fixed range"):
        IntegerLinear.from_float(nn.Linear(3, 2), INT8).set_activation_range(0, 1)


def test_smoothing_multiplies_the_input():
    layer, smoothing = nn.Linear(4, 3), torch.tensor([2.0, 0.5, 1.0, 4.0])
    with torch.no_grad():
        layer.weight.div_(smoothing)
    integer = IntegerLinear.from_float(layer, Grid(bits=8), smoothing=smoothing)
    inputs = torch.randn(5, 4)
    torch.testing.assert_close(integer(inputs), functional.linear(inputs * smoothing, integer.weight(), layer.bias))


def test_an_unknown_kind_of_activations_is_refused():
    with pytest.raises(ConfigError, match="'dynamik' is unknown"):
        IntegerLinear.from_float(nn.Linear(2, 2), INT8, activations="dynamik")


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_are_where_the_dequantized_weight_is_0(bits, symmetric):
    layer = nn.Conv2d(3, 5, 3)
    with torch.no_grad():
        layer.weight[torch.rand(5, 3, 3, 3) < 0.4] = 0.0
        layer.weight[2] *= 1e-40  # scales as small as numbers get
    integer = integer_type(layer).from_float(layer, Grid(bits=bits, group_size=4, symmetric=symmetric))
    zeros = integer.zeros()
    assert torch.equal(zeros, integer.weight() == 0)
    assert 0 < int(zeros.sum()) < zeros.numel()


def test_layers_to_be_filled_take_no_memory():
    integer, model = IntegerLinear.from_float(nn.Linear(4, 2), INT8), nn.Sequential(nn.Linear(4, 2))
    swap_in(model, {"0": integer.describe()})
    assert all(buffer.is_meta for buffer in model.buffers())


@pytest.mark.parametrize("name", ["nothing", "features"])
def test_a_layer_that_the_code_lost_is_named(config, name):
    entry = IntegerLinear.from_float(nn.Linear(2, 2), INT8).describe()
    with pytest.raises(IntegrityError, match=f"integer layer '{name}'"):
        swap_in(build_model(config, trusted=[]), {name: entry})


class Scaled(nn.Embedding):
    embed_scale = 1.5

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        return super().forward(input) * self.embed_scale


@pytest.mark.parametrize("kind", [nn.Embedding, Scaled])
@pytest.mark.parametrize("grid", [Grid(bits=8, group_size=4), INT4])
def test_an_embedding_gives_the_rows_of_its_decoded_weight(kind, grid, monkeypatch):
    monkeypatch.setattr("overwinter.models.integer._ROUNDED_AT_ONCE", 20)  # in pieces of three rows
    layer = kind(7, 6)
    integer, tokens = IntegerEmbedding.from_float(layer, grid), torch.tensor([[1, 5, 1], [6, 0, 2]])
    assert torch.equal(integer.weight(), grid.decode(grid.nearest(layer.weight.detach())))
    with torch.no_grad():
        layer.weight.copy_(integer.weight())
    assert torch.equal(integer(tokens), layer(tokens))
    assert torch.equal(integer.apply_weight(tokens, integer.weight()), layer(tokens))


def tied_codes() -> nn.Module:
    model = Tied()
    grid = Grid(bits=8, group_size=4)
    head = IntegerLinear.from_float(model.head, grid)
    model.embedding = IntegerEmbedding.from_float(model.embedding, grid)
    head.share_codes(model.embedding)
    model.head = head
    return model


def test_a_tied_head_and_its_embedding_are_stored_and_counted_once(tmp_path):
    floating, model = Tied(), tied_codes()
    assert count_parameters(model) == count_parameters(floating)
    config, tokens = {"_target_": f"{__name__}.Tied"}, torch.tensor([[1, 5]])
    saved = save_model(
        tmp_path, model, variant="int8", model_config=config, signature=Signature.of_one([2]), lineage={}
    )
    assert saved["quantization"]["layers"]["head"]["codes_of"] == "embedding"
    assert [name for name in saved["tensors"] if name.startswith("head")] == []
    assert stored_bytes(saved) < 2000
    loaded = load_model(tmp_path, trusted=[__name__])
    for each in (loaded, twin(loaded), loaded.double().float()):
        assert each.head.codes is each.embedding.codes
        assert torch.equal(each(tokens), model(tokens))
        assert set(integer_layers(each)) == {"embedding", "head"}


def test_a_layer_shares_only_what_fits():
    model = tied_codes()
    with pytest.raises(ConfigError, match=r"cannot share the codes of one of \[6, 6\]"):
        model.head.share_codes(IntegerLinear.from_float(model.inner, INT8))
    with pytest.raises(ConfigError, match="inputs are whole numbers"):
        IntegerEmbedding.from_float(nn.Embedding(2, 2), INT8, activations="dynamic")


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_compact_grids_store_float16_scales_and_packed_zeros_and_hold_these_numbers(bits):
    grid = Grid(bits=bits, group_size=5, symmetric=False, compact=True)
    layer, plain = nn.Linear(15, 4), dataclasses.replace(grid, compact=False)
    integer = IntegerLinear.from_float(layer, grid)
    assert integer.scale.dtype == torch.float16
    assert integer.zero.shape == ((4, 3) if bits == 8 else (4, 2))
    codes = integer.get_codes()
    assert codes.scale.dtype == torch.float32
    assert torch.equal(codes.scale, codes.scale.half().float())
    assert codes.zero.shape == (4, 3)
    again = plain.encode(layer.weight.detach(), codes.scale, codes.zero)  # rounded for these scales, not for others
    assert torch.equal(again.codes, codes.codes)
    steps = codes.scale.repeat_interleave(5, 1)  # half of one by the code, half by the zero point
    assert bool(((integer.weight() - layer.weight).abs() <= 1.01 * steps).all())


def test_layers_of_models_that_were_saved_before_grids_were_compact_have_float32_scales():
    entry = IntegerLinear.from_float(nn.Linear(4, 2), INT8).describe()
    del entry["compact"]
    model = nn.Sequential(nn.Linear(4, 2))
    swap_in(model, {"0": entry})
    assert model[0].scale.dtype == torch.float32
