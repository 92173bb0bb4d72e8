"""Models of every task and of other shapes than images: several inputs, lengths that differ, numbers, masks, series."""

import textwrap

import numpy as np
import pytest
import torch

from overwinter import models, tasks
from overwinter.errors import ConfigError, RefusedError
from overwinter.models import Grid
from overwinter.quantization.settings import MixedConfig, ScaleDistillationConfig
from overwinter.signature import Signature, TensorSpec

NETS = """
    import torch
    from torch import nn
    from torch.nn import functional

    class Text(nn.Module):
        '''Tokens and a mask by name; three blocks; logits in a dictionary.'''
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(20, 16), nn.Linear(16, 3)
            blocks = (nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(3))
            self.blocks = nn.ModuleList(blocks)
            self.aside = nn.Linear(16, 4)
        def forward(self, input_ids, attention_mask=None):
            states, mask = self.embedding(input_ids), attention_mask[:, :, None]
            for block in self.blocks:
                states = functional.layer_norm(states + block(states), (16,))
            pooled = (states * mask).sum(1) / mask.sum(1)
            found = {"logits": self.head(pooled)}
            return found | {"aside": self.aside(pooled)} if self.training else found

    class Tags(Text):
        def forward(self, input_ids, attention_mask=None):
            return self.head(self.blocks[0](self.embedding(input_ids)))

    class Price(nn.Module):
        '''Numbers, one for each row.'''
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(6, 32), nn.Linear(32, 1)
        def forward(self, rows):
            return 100 + 50 * self.head(torch.tanh(self.body(rows)))[:, 0]

    class Series(nn.Module):
        '''A recurrent layer, and a convolution over time.'''
        def __init__(self):
            super().__init__()
            self.smooth, self.memory = nn.Conv1d(2, 4, 3, padding=1), nn.GRU(4, 8, batch_first=True)
            self.head = nn.Linear(8, 10)
        def forward(self, series):
            states, _ = self.memory(self.smooth(series.transpose(1, 2)).transpose(1, 2))
            return self.head(states[:, -1]).view(-1, 5, 2)

    class Mask(nn.Module):
        '''A U-Net with a squeeze-and-excitation block and a depthwise convolution.'''
        def __init__(self):
            super().__init__()
            self.left, self.spatial = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
            self.squeeze, self.excite = nn.Linear(6, 3), nn.Linear(3, 6)
            self.up, self.head = nn.ConvTranspose2d(6, 6, 2, stride=2), nn.Conv2d(12, 2, 1)
        def forward(self, images):
            left = torch.relu(self.spatial(torch.relu(self.left(images))))
            deep = functional.max_pool2d(left, 2)
            deep = deep * torch.sigmoid(self.excite(torch.relu(self.squeeze(deep.mean((2, 3))))))[:, :, None, None]
            return self.head(torch.cat([left, self.up(deep)], 1))

    class Labels(nn.Module):
        '''Attention of torch's own, and a LayerNorm.'''
        def __init__(self):
            super().__init__()
            self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)
            self.head = nn.Linear(8, 4)
        def forward(self, tokens):
            found, _ = self.attention(tokens, tokens, tokens)
            return self.head(self.norm(found).mean(1))
"""
RANDOM = np.random.default_rng(0)


def text(count, length):
    tokens = RANDOM.integers(0, 20, (count, length))
    return {"input_ids": tokens, "attention_mask": np.ones((count, length), np.int64)}


def numbers(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


TEXT = Signature(
    inputs=tuple(TensorSpec(name=name, dtype="int64", shape=(None, None)) for name in ("input_ids", "attention_mask")),
    outputs=(),
)
CLASSES = ("a", "b", "c")
KINDS = {
    "Text": (TEXT, [text(20, 7), text(30, 11)], tasks.Classification(CLASSES)),
    "Tags": (TEXT, [text(20, 7), text(30, 11)], tasks.TokenClassification(CLASSES)),
    "Price": (Signature.of_one([6]), numbers(64, 6), tasks.Regression(("price",))),
    "Series": (Signature.of_one([12, 2]), numbers(40, 12, 2), tasks.Forecasting(("first", "second"))),
    "Mask": (Signature.of_one([1, 8, 8]), numbers(24, 1, 8, 8), tasks.Segmentation(("no", "yes"))),
    "Labels": (Signature.of_one([5, 8]), numbers(48, 5, 8), tasks.Multilabel(tuple("abcd"))),
}
LEFT = {
    "Series": {"smooth": "Conv1d", "memory": "GRU"},
    "Mask": {"up": "ConvTranspose2d"},
    "Labels": {"attention": "MultiheadAttention", "attention.out_proj": "read by other code"},
}
METHODS = ("int8_dynamic", "int8_smooth", "int8_grouped", "int8_weight_only", "int4_gptq", "int8_static")


@pytest.fixture
def saved(tmp_path, monkeypatch):
    (tmp_path / "nets_of_kinds.py").write_text(textwrap.dedent(NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def saved(name):
        torch.manual_seed(0)
        config, folder = {"_target_": f"nets_of_kinds.{name}"}, tmp_path / "float"
        model = models.build_model(config, trusted=["nets_of_kinds"]).eval()
        models.save_model(folder, model, variant="dense", model_config=config, signature=KINDS[name][0], lineage={})
        return folder

    return saved


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_is_quantized_or_its_layers_are_named(name, method, saved, quantize):
    _, samples, task = KINDS[name]
    report = quantize(method, saved(name), samples, task=task)
    assert report.quantized
    assert report.agreement > (0.75 if method == "int4_gptq" else 0.9)
    if method not in ("int8_static", "int8_dynamic"):
        for layer, kind in LEFT.get(name, {}).items():
            assert kind in report.left_in_float[layer]


@pytest.mark.parametrize("name", KINDS)
def test_sensitivity_and_scale_distillation_are_in_the_tasks_unit(name, saved, quantize, tmp_path):
    _, samples, task = KINDS[name]
    distilling = ScaleDistillationConfig(steps=12, learning_rate=3e-3, batch_size=8, zeros=True)
    overrides = {"*": Grid(bits=3, group_size=16, symmetric=False)}
    report = quantize(
        "int4_nearest", saved(name), samples, task=task, scale_distillation=distilling, sensitivity_samples=16,
        overrides=overrides,
    )  # fmt: skip
    described = models.load_description(tmp_path / "int4_nearest")["quantization"]
    assert described["divergence_unit"] == ("of the spread" if name in ("Price", "Series") else "nats")
    first, last = described["scale_distillation_divergence"]
    assert 0 < last < 1.5 * first
    assert set(report.sensitivity) == set(report.quantized)
    assert max(damage.divergence for damage in report.sensitivity.values()) > 1e-5
    if name == "Text":
        assert report.sensitivity["aside"].divergence == pytest.approx(0.0, abs=1e-9)  # only training calls it


def test_mixed_precision_keeps_a_limit_of_numbers(saved, quantize):
    _, samples, task = KINDS["Price"]
    limit = MixedConfig(max_size_ratio=None, max_divergence=0.02)
    report = quantize("mixed", saved("Price"), samples, task=task, sensitivity_samples=32, mixed=limit)
    assert report.agreement > 0.97


def test_numbers_that_are_off_are_refused_in_their_own_words(saved, quantize):
    _, samples, task = KINDS["Price"]
    with pytest.raises(RefusedError, match=r"off from the dense model's by \d+\.\d% of the spread, and quantize"):
        quantize(
            "int4_nearest", saved("Price"), samples, task=task, min_agreement=0.999,
            overrides={"*": Grid(bits=2)},
        )  # fmt: skip


def test_inputs_of_other_names_are_refused(saved, quantize):
    with pytest.raises(ConfigError, match="Calibration samples are called input; the model takes input_ids, attention"):
        quantize("int8_smooth", saved("Text"), text(4, 5)["input_ids"], task=KINDS["Text"][2])
