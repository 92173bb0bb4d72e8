"""The sparsifier as a whole: on convolutions, text and tied weights, and what it refuses."""

import pytest
import torch
from torch import nn

from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import counted_sparsity, pages
from overwinter.sparsity import Calibrated, Calibration, OneShot
from tests.support.decoders import decoder, tokens

WAYS = [
    {"score": score, "pattern": pattern, "swaps": swaps}
    for score in ("magnitude", "wanda", "sparsegpt")
    for pattern in ("unstructured", "2:4")
    for swaps in (0, 10)
]


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2)
        self.depthwise, self.head = nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8 * 4, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for layer in (self.first, self.grouped, self.depthwise):
            images = torch.relu(layer(images))
        return self.head(images.flatten(1))


@pytest.fixture
def convolutions():
    torch.manual_seed(0)
    return Convolutions().eval()


@pytest.fixture
def text():
    given = tokens(6, 20)
    return Split(InMemory(given, given[:, 0]))


@pytest.fixture
def llama():
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    return decoder("llama")


def prune(config, model, train, **calibration):
    sparsifier = OneShot(config)
    sparsifier.calibrate_with(Calibration(**calibration))
    assert list(sparsifier.prepare(model, train)) == []
    return sparsifier.report(model)


def density(layer):
    return int(layer.weight.count_nonzero()) / layer.weight.numel()


def test_it_is_given_a_calibration(one_shot_config):
    assert isinstance(OneShot(one_shot_config()), Calibrated)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_each_layer_that_can_is_pruned_and_the_others_are_named(one_shot_config, convolutions, train, way):
    report = prune(one_shot_config(**way), convolutions, train)
    layers = {layer.name: layer for layer in report.layers}
    left = dict(report.left_alone)
    assert left.pop("unused") == "the calibration samples do not reach it"
    if way["pattern"] == "2:4":
        assert left.pop("first") == "its rows of 3 weights cannot be divided into groups of 4 (sparsify.pattern=2:4)"
        assert left.pop("depthwise").startswith("its rows of 1 weights")
    assert not left
    assert set(layers) == {"first", "grouped", "depthwise", "head"} - report.left_alone.keys()
    for name, layer in layers.items():
        assert layer.density_asked == pytest.approx(0.5)
        assert layer.after / layer.before == pytest.approx(0.5, abs=0.06)
        assert layer.after == int(convolutions.get_submodule(name).weight.count_nonzero())
        assert 0 < layer.output_error < 1
    for name in report.left_alone:
        assert density(convolutions.get_submodule(name)) == 1.0
    assert report.reached == pytest.approx(0.5, abs=0.02)


def test_better_ways_err_less(one_shot_config, train):
    errors = {}
    for score, swaps in (("magnitude", 0), ("wanda", 0), ("wanda", 30), ("sparsegpt", 0), ("sparsegpt", 30)):
        torch.manual_seed(0)
        report = prune(one_shot_config(score=score, swaps=swaps), Convolutions().eval(), train)
        errors[score, swaps] = sum(layer.output_error for layer in report.layers)
    assert errors["sparsegpt", 30] < errors["sparsegpt", 0] < errors["wanda", 0]
    assert errors["wanda", 30] < errors["wanda", 0] < errors["magnitude", 0]


def test_magnitude_needs_no_calibration(one_shot_config, convolutions):
    report = prune(one_shot_config(score="magnitude", calibration_samples=0), convolutions, None)
    assert {layer.name: layer.output_error for layer in report.layers} == dict.fromkeys(
        ("first", "grouped", "depthwise", "head", "unused")
    )
    assert counted_sparsity(convolutions) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("score", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize(
    "choice", [{"scope": "global"}, {"ratios": "erk", "scope": "layer"}, {"ratios": "sensitivity"}]
)
def test_layers_may_be_given_different_shares(one_shot_config, convolutions, train, score, choice):
    report = prune(one_shot_config(score=score, **choice), convolutions, train)
    asked = {layer.name: layer.density_asked for layer in report.layers}
    assert len(set(asked.values())) > 1
    total = sum(layer.before for layer in report.layers)
    reached = sum(layer.before * layer.density_asked for layer in report.layers) / total
    assert reached == pytest.approx(0.5, abs=0.005) if "erk" not in choice.values() else reached > 0.45
    for layer in report.layers:
        assert layer.after / layer.before == pytest.approx(layer.density_asked, abs=0.06)


def test_of_a_language_model_the_linear_layers_of_the_blocks_are_pruned(one_shot_config, llama, text):
    report = prune(one_shot_config(), llama, text)
    assert len(report.layers) == 28
    assert report.left_alone == {
        "network.lm_head": "it is outside the language model's blocks (sparsify.head=false)",
        "network.model.embed_tokens": "Embedding is neither Linear nor a convolution",
    }
    report = prune(one_shot_config(head=True), decoder("llama"), text)
    assert "network.lm_head" in {layer.name for layer in report.layers}


def test_conv1d_is_pruned_and_a_tied_head_stays_dense(one_shot_config, llama, text):
    model = decoder("gpt2")
    report = prune(one_shot_config(head=True, score="sparsegpt"), model, text)
    assert {layer.name.rpartition(".")[2] for layer in report.layers} == {"c_attn", "c_proj", "c_fc"}
    assert report.left_alone["network.lm_head"] == (
        "its weight is tied to network.transformer.wte.weight, and both stay dense"
    )
    assert counted_sparsity(model) > 0.3
    assert density(model.network.transformer.wte) == 1.0


def test_text_that_the_dense_model_writes_calibrates_too(one_shot_config, llama, text):
    dense = {name: weight.clone() for name, weight in llama.named_parameters()}
    prune(one_shot_config(calibration_text="both"), llama, text, seed=1)
    on_data = decoder("llama")
    prune(one_shot_config(), on_data, text, seed=1)
    name = "network.model.layers.0.mlp.down_proj.weight"
    assert not torch.equal(llama.get_parameter(name) == 0, on_data.get_parameter(name) == 0)
    assert torch.equal(on_data.get_parameter("network.lm_head.weight"), dense["network.lm_head.weight"])


def test_it_is_the_same_again_and_on_another_device(one_shot_config, train):
    states = []
    for device in ("cpu", "cpu", "cpu:0"):
        torch.manual_seed(0)
        model = Convolutions().eval()
        prune(one_shot_config(score="sparsegpt", swaps=5), model, train, device=device)
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name])
        assert torch.equal(tensor == 0, states[2][name] == 0)


def test_a_large_models_weights_change_on_disk(one_shot_config, train, monkeypatch):
    pruned = []
    for small in (0.25, 0.0):
        monkeypatch.setattr(pages, "_SMALL", small)
        torch.manual_seed(0)
        model = Convolutions().eval()
        before = model.head.weight.data_ptr()
        prune(one_shot_config(), model, train)
        assert (model.head.weight.data_ptr() == before) == (small > 0)
        pruned.append(model.state_dict())
    for name, tensor in pruned[0].items():
        assert torch.equal(tensor, pruned[1][name])


def test_progress_rises_to_the_end(one_shot_config, convolutions, train):
    shares = []
    progress = lambda done, total: shares.append(done / total)  # noqa: E731 -- a callback
    prune(one_shot_config(ratios="sensitivity"), convolutions, train, progress=progress)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_a_broken_weight_is_refused_before_the_work(one_shot_config, convolutions, train):
    with torch.no_grad():
        convolutions.grouped.weight[0, 0] = torch.nan
    with pytest.raises(OverwinterError, match="weight of the layer grouped holds NaN"):
        prune(one_shot_config(), convolutions, train)


def test_calibration_that_reaches_nothing_is_refused(one_shot_config, convolutions, train):
    config = one_shot_config(skip=["first", "grouped", "depthwise", "head"])
    with pytest.raises(OverwinterError, match="calibration samples reach none of the layers unused"):
        prune(config, convolutions, train)


def test_a_model_that_answers_otherwise_each_time_is_refused(one_shot_config, train):
    class Noisy(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.flatten(1)) + torch.randn(len(inputs), 2)

    with pytest.raises(OverwinterError, match="gives other outputs when it is called again"):
        prune(one_shot_config(), nn.Sequential(Noisy(192, 2)).eval(), train)


def test_no_layer_that_can_be_pruned_is_refused_before_the_training(one_shot_config):
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Linear(6, 2))
    with pytest.raises(ConfigError, match="prunes none of the model's layers: 0: one_shot prunes Linear, Conv2d and"):
        one_shot_config(pattern="2:4").check_model(model)
    with pytest.raises(ConfigError, match=r"sparsify\.skip='haed' matches no layer"):
        one_shot_config(skip=["haed"]).check_model(model)
    one_shot_config().check_model(model)


def test_a_layer_that_a_ranking_would_empty_is_refused(one_shot_config):
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 5))
    with torch.no_grad():
        model[1].weight.fill_(1e-6)
    config = one_shot_config(score="magnitude", scope="global", calibration_samples=0)
    with pytest.raises(OverwinterError, match="Every weight of 1 would be removed"):
        prune(config, model.eval(), None)


def test_images_write_no_text(one_shot_config, convolutions, train):
    with pytest.raises(
        ConfigError, match=r"Convolutions is not a language model.* Set sparsify\.calibration_text=data"
    ):
        prune(one_shot_config(calibration_text="generated"), convolutions, train)
