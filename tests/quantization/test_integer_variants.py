import pytest
import torch
from torch import nn

from overwinter import models
from overwinter.errors import ConfigError, RefusedError
from overwinter.models.aware import AwareLayer
from overwinter.quantization.mixing import Option
from overwinter.quantization.recipe import Recipe, apply_recipe
from overwinter.quantization.settings import GridConfig, MixedConfig, ScaleDistillationConfig
from overwinter.signature import Signature
from tests.support.decoders import decoder, tokens
from tests.support.networks import CONVNET as SMALL
from tests.support.networks import save_language_model

CONVNET = SMALL | {"channels": [8, 12]}
RECIPES = ["int4_gptq", "int4_nearest", "int8_grouped", "int8_smooth", "int8_weight_only"]


@pytest.mark.parametrize("method", RECIPES)
def test_every_variant_answers_like_the_float_model_and_loads_bit_for_bit(
    quantize, save, convnet, tmp_path, calibration, method
):
    report = quantize(method, save(convnet))
    assert report.quantized == ("features.0.0", "features.2.0", "head")
    assert report.size_bytes < report.float_size_bytes
    loaded = models.load_model(tmp_path / method, trusted=[])
    with torch.inference_mode():
        dense, integer = convnet(torch.from_numpy(calibration)), loaded(torch.from_numpy(calibration))
    assert 0 < float((integer - dense).abs().mean()) < 0.1 * float(dense.abs().max())


@pytest.mark.parametrize("method", RECIPES)
def test_zero_weights_stay_zero(quantize, save, sparse_convnet, method):
    before = sum(int((weight == 0).sum()) for weight in models.prunable_weights(sparse_convnet).values())
    report = quantize(method, save(sparse_convnet, variant="sparse"))
    assert report.zeros_after >= report.zeros_before == before > 0


def test_what_is_left_in_float_has_its_reason(quantize, save_own):
    report = quantize("int8_weight_only", save_own("Upsampling"), skip=["he*"])
    assert report.left_in_float == {
        "up": "int8_weight_only serves Linear and Conv2d, not ConvTranspose2d",
        "head": "quantize.skip names 'he*'",
    }


def test_untied_layers_are_named(quantize, save_own, tmp_path):
    report = quantize("int8_weight_only", save_own("Tied"))
    assert report.untied == ("enter", "leave")
    assert models.load_description(tmp_path / "int8_weight_only")["quantization"]["untied"] == ["enter", "leave"]


def test_serving_no_layer_is_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match="serves none of the model's layers"):
        quantize("int4_gptq", save(convnet), skip=["*"])


def test_a_model_without_trained_grids_is_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match="qat needs a model trained for its grids"):
        quantize("qat", save(convnet))


def trained_grid(convnet) -> AwareLayer:
    """Put the head's weights on a grid, as training does, and return it."""
    grid = models.Grid(bits=4)
    codes = grid.nearest(convnet.head.weight.detach())
    with torch.no_grad():
        convnet.head.weight.copy_(grid.decode(codes))
    return AwareLayer(
        grid=grid, scale=codes.scale, zero=None, activation_bits=None, activation_scale=None, activation_zero=None
    )


def test_trained_grids_give_the_very_answers_of_the_trained_model(quantize, convnet, tmp_path, calibration):
    aware = trained_grid(convnet)
    models.save_model(
        tmp_path / "float",
        convnet,
        variant="dense",
        model_config=CONVNET,
        signature=Signature.of_one([1, 8, 8]),
        lineage={},
        quantization_aware={"head": aware.to_json()},
    )
    report = quantize("qat", tmp_path / "float")
    assert report.quantized == ("head",)
    assert report.left_in_float["features.0.0"] == "it was not trained for a grid"
    inputs = torch.from_numpy(calibration)
    with torch.inference_mode():
        assert torch.equal(models.load_model(tmp_path / "qat", trusted=[])(inputs), convnet(inputs))


def test_overrides_and_scale_distillation_and_the_report_reach_the_saved_variant(quantize, save, convnet, tmp_path):
    grid = GridConfig(bits=8, group_size=None, symmetric=True)
    scale_distillation = ScaleDistillationConfig(steps=3, learning_rate=0.001, batch_size=32, zeros=False)
    report = quantize(
        "int4_nearest",
        save(convnet),
        overrides={"he*": grid},
        scale_distillation=scale_distillation,
        sensitivity_samples=8,
    )
    saved = models.load_description(tmp_path / "int4_nearest")["quantization"]
    assert {name: layer["bits"] for name, layer in saved["layers"].items()} == {
        "features.0.0": 4,
        "features.2.0": 4,
        "head": 8,
    }
    assert len(saved["scale_distillation_divergence"]) == 2
    assert list(saved["sensitivity"]) != []
    assert set(report.sensitivity) == set(saved["sensitivity"]) == set(saved["layers"])


def test_a_pattern_that_fits_no_layer_is_refused(quantize, save, convnet):
    grid = GridConfig(bits=8, group_size=None, symmetric=True)
    with pytest.raises(ConfigError, match=r"quantize\.overrides names 'haed'.*Did you mean 'head'"):
        quantize("int4_nearest", save(convnet), overrides={"haed": grid})


@pytest.mark.parametrize("method", ["mixed", "qat"])
def test_methods_that_choose_grids_take_no_overrides(quantize, save, convnet, tmp_path, method):
    aware = {"head": trained_grid(convnet).to_json()}
    folder = tmp_path / "float"
    models.save_model(
        folder,
        convnet,
        variant="dense",
        model_config=CONVNET,
        signature=Signature.of_one([1, 8, 8]),
        lineage={},
        quantization_aware=aware,
    )
    grid = GridConfig(bits=8, group_size=None, symmetric=True)
    with pytest.raises(ConfigError, match=f"{method} chooses every layer's grid itself"):
        quantize(method, folder, overrides={"head": grid}, sensitivity_samples=4)


def mixed(quantize, folder, **limits):
    limits = {"max_size_ratio": None, "max_divergence": None} | limits
    return quantize("mixed", folder, sensitivity_samples=50, mixed=MixedConfig(**limits))


def test_mixed_precision_keeps_a_size_limit_and_is_no_worse_than_4_bits(quantize, save, convnet):
    folder = save(convnet)
    least = quantize("int4_gptq", folder, sensitivity_samples=50)
    limit = 1.15 * least.size_bytes / least.float_size_bytes
    report = mixed(quantize, folder, max_size_ratio=limit)
    assert report.size_bytes <= limit * report.float_size_bytes
    assert max(each.bits for each in report.sensitivity.values()) == 8 or report.left_in_float
    worst = [max(each.divergence for each in found.sensitivity.values()) for found in (report, least)]
    assert worst[0] < worst[1]


def test_mixed_precision_keeps_a_divergence_limit(quantize, save, convnet, tmp_path, calibration):
    report = mixed(quantize, save(convnet), max_divergence=2e-5)
    assert report.size_bytes < report.float_size_bytes
    loaded = models.load_model(tmp_path / "mixed", trusted=[])
    inputs = torch.from_numpy(calibration[:50])
    with torch.inference_mode():
        odds, wanted = (model(inputs).log_softmax(1) for model in (loaded, convnet))
    assert float((wanted.exp() * (wanted - odds)).sum(1).mean()) <= 2e-5
    assert sorted([*report.quantized, *report.left_in_float]) == ["features.0.0", "features.2.0", "head"]


def test_mixed_precision_keeps_zero_weights_zero_whatever_each_layer_became(quantize, save, sparse_convnet, tmp_path):
    before = {name: weight == 0 for name, weight in models.prunable_weights(sparse_convnet).items()}
    report = mixed(quantize, save(sparse_convnet, variant="sparse"), max_size_ratio=0.6)
    assert len(report.quantized) + len(report.left_in_float) == len(before)
    loaded = models.load_model(tmp_path / "mixed", trusted=[])
    integers = models.integer_layers(loaded)
    for name, was_zero in before.items():
        layer = name.removesuffix(".weight")
        weight = integers[layer].weight() if layer in integers else loaded.get_parameter(f"{layer}.weight")
        assert bool((weight == 0)[was_zero].all()), layer
    assert report.zeros_after >= report.zeros_before > 0


def test_a_ruined_variant_is_refused_with_the_layers_that_ruin_it(quantize, save, convnet, calibration):
    with torch.no_grad():
        convnet.head.bias.zero_()
        convnet.head.weight[:, 0] = 1e4  # the same for all classes: it decides nothing, and takes the whole grid
    with pytest.raises(RefusedError, match=r"int4_nearest ruins the model: .*Worst layers.*: head \(4 bits\)"):
        quantize("int4_nearest", save(convnet), min_agreement=0.9)


def test_the_refusal_judges_the_layers_as_they_were_quantized(quantize, save, convnet):
    overrides = {"features.*": GridConfig(bits=2, group_size=None, symmetric=True)}
    with pytest.raises(RefusedError, match=r"Worst layers, each quantized alone: features\.\d\.0 \(2 bits\)"):
        quantize("int4_nearest", save(convnet), overrides=overrides, min_agreement=1.0)


def test_mixed_says_so_where_its_limit_leaves_nothing_to_quantize(quantize, save, convnet, monkeypatch):
    floats = {"head": Option(bits=None, size_bytes=4, divergence=0.0)}
    monkeypatch.setattr("overwinter.quantization.mixed.fit_size", lambda _options, _bytes: floats)
    with pytest.raises(ConfigError, match="mixed would leave every layer in floating point"):
        mixed(quantize, save(convnet), max_size_ratio=9.0)


@pytest.mark.parametrize("family", ["gpt_oss", "mixtral"])
def test_experts_that_stay_in_float_are_named_with_the_reason(quantize, tmp_path, family):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    folder = save_language_model(tmp_path / "float", decoder(family), length=24)
    report = quantize("int4_gptq", folder, tokens(4, 24).numpy(), min_agreement=0.0)
    stored = models.load_description(tmp_path / "int4_gptq")["quantization"]["left_in_float"]
    for block in range(4):
        name = f"network.model.layers.{block}.mlp.experts.gate_up_proj"
        assert "the weights of 4 experts in one parameter" in report.left_in_float[name]
        assert stored[name] == report.left_in_float[name]
        assert f"network.model.layers.{block}.self_attn.q_proj" in report.quantized


class Routed(nn.Module):
    """A block of two experts, of which each token asks one."""

    def __init__(self):
        super().__init__()
        self.router, self.experts = nn.Linear(16, 2), nn.ModuleList(nn.Linear(16, 16) for _ in range(2))

    def forward(self, states):
        chosen = self.router(states).argmax(-1)
        output = torch.zeros_like(states)
        for number, expert in enumerate(self.experts):
            output[chosen == number] = expert(states[chosen == number]).to(states.dtype)
        return output


def test_experts_that_are_linear_layers_become_integer():
    torch.manual_seed(0)
    model, names = Routed().eval(), ["router", "experts.0", "experts.1"]
    samples = torch.randn(64, 16)
    with torch.no_grad():
        wanted = model(samples)
        apply_recipe(model, Recipe(solver="gptq", grid=models.Grid(bits=8)), names, samples)
        assert set(models.integer_layers(model)) == set(names)
        assert float((model(samples) - wanted).abs().median()) < 0.02
