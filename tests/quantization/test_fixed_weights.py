"""Models whose layers are more than called: every method quantizes what it can and names the rest."""

import textwrap

import numpy as np
import pytest
import torch

from overwinter import models, runtime
from overwinter.quantization.checking import check_layer_names
from overwinter.signature import Signature
from tests.support.building import build
from tests.support.settings import quantize_settings

NETS = """
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils import parametrizations, spectral_norm

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, 3)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
        def forward(self, x):
            return self.head(self.encoder(self.embed(x)).mean(dim=1))

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(8, 3)
        def forward(self, x):
            back = functional.linear(torch.relu(self.body(self.embed(x))), self.embed.weight.t())
            return self.head(back.mean(dim=1))

    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 3, bias=False)
        def forward(self, x):
            features = functional.normalize(torch.relu(self.body(x)).mean(dim=1), dim=-1)
            return 8 * functional.linear(features, functional.normalize(self.head.weight, dim=-1))

    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        def forward(self, x):
            return self.head(input=self.body(input=torch.relu(self.body(x))).mean(dim=1))

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = parametrizations.weight_norm(nn.Linear(8, 16))
            self.second = spectral_norm(nn.Linear(16, 16))
            self.head = nn.Linear(16, 3)
        def forward(self, x):
            return self.head(torch.relu(self.second(torch.relu(self.body(x)))).mean(dim=1))
"""
LEFT = {
    "Encoder": {"encoder.layers.0.linear1", "encoder.layers.0.linear2", "encoder.layers.0.self_attn.out_proj"},
    "Tied": {"embed"},
    "Cosine": {"head"},
    "Keyword": set(),
    "Normed": {"body", "second"},
}
_IN = ("in_proj_weight", "in_proj_bias")
METHODS = ("int8_dynamic", "fp8_weight_only", "int8_grouped", "int8_smooth", "int8_weight_only", "int4_gptq")
TORCHAO = ("int8_dynamic", "fp8_weight_only")
SAMPLES = np.random.default_rng(0).standard_normal((64, 5, 8)).astype(np.float32)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    (tmp_path / "nets_with_fixed_weights.py").write_text(textwrap.dedent(NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def saved(name):
        config = {"_target_": f"nets_with_fixed_weights.{name}"}
        model = models.build_model(config, trusted=["nets_with_fixed_weights"])
        model.train()(torch.from_numpy(SAMPLES))  # spectral_norm has seen a pass, as after training
        folder = tmp_path / "float"
        models.save_model(
            folder, model, variant="dense", model_config=config, signature=Signature.of_one([5, 8]), lineage={}
        )
        return folder

    return saved


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LEFT)
def test_layers_that_are_more_than_called_stay_in_floating_point(name, method, saved, quantize, tmp_path):
    report = quantize(method, saved(name), SAMPLES, sensitivity_samples=0 if method in TORCHAO else 8)
    assert LEFT[name] <= set(report.left_in_float)
    assert all("its weight is" in report.left_in_float[layer] for layer in LEFT[name])
    assert report.quantized
    assert report.agreement > 0.8
    for each in ("torch", "onnxruntime"):
        if runtime.refusal(tmp_path / method, each) is None:
            build(tmp_path / method, each, tmp_path / each, trusted=["nets_with_fixed_weights"])


def test_attention_that_lost_a_head_is_quantized_as_a_whole_one(saved, quantize, tmp_path):
    folder, trusted = saved("Encoder"), ["nets_with_fixed_weights"]
    model, left = models.load_model(folder, trusted=trusted), [*range(8), *range(16, 24), *range(32, 40)]
    attention = model.encoder.layers[0].self_attn
    models.replace_tensors(attention, {each: getattr(attention, each).detach()[left] for each in _IN})
    models.replace_tensors(attention.out_proj, {"weight": attention.out_proj.weight.detach()[:, :8]})
    config = {"_target_": "nets_with_fixed_weights.Encoder"}
    signature = Signature.of_one([5, 8])
    models.save_model(folder, model, variant="sparse", model_config=config, signature=signature, lineage={})
    report = quantize("int8_grouped", folder, SAMPLES, sensitivity_samples=8)
    assert "encoder.layers.0.self_attn.out_proj" in report.left_in_float
    assert "encoder.layers.0.self_attn" in report.left_in_float
    assert report.agreement > 0.8
    build(tmp_path / "int8_grouped", "onnxruntime", tmp_path / "onnx", trusted=trusted)


@pytest.mark.parametrize("name", LEFT)
def test_a_graph_is_quantized_whatever_its_layers_were(name, saved, quantize):
    assert quantize("int8_static", saved(name), SAMPLES).agreement > 0.8


def test_a_fixed_layer_may_be_named_in_skip(saved):
    model = models.load_model(saved("Normed"), trusted=["nets_with_fixed_weights"])
    check_layer_names(model, quantize_settings("int8_smooth", skip=["body"]))
