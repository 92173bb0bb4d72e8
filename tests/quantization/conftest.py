"""Saved models to quantize, and what to quantize them with."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from overwinter import models, quantization
from overwinter.quantization.settings import CalibratedQuantizeConfig, MixedConfig, RecoveryConfig
from overwinter.quantization.torchao_forms import Fp8Dynamic
from overwinter.runtime import import_torchao

CONVNET = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 8, 8],
    "classes": 3,
    "channels": [8, 12],
    "pool_after": [1],
}

OWN_NETS = """
    import torch
    from torch import nn

    class Upsampling(nn.Module):
        '''Has a layer that int8_static does not serve.'''
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(1, 4, 2, stride=2)
            self.conv = nn.Conv2d(4, 4, 3)
            self.head = nn.Linear(4, 3)
        def forward(self, x):
            return self.head(torch.relu(self.conv(self.up(x))).mean((2, 3)))

    class ConvolutionsOnly(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 8)
        def forward(self, x):
            return self.conv(x).flatten(1)

    class Wide(nn.Module):
        '''Its second layer's sizes are no multiples of 16.'''
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(64, 48)
            self.head = nn.Linear(48, 3)
        def forward(self, x):
            return self.head(torch.relu(self.body(x.flatten(1))))

    class Overflowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(64, 8)
            self.second = nn.Linear(8, 3)
            with torch.no_grad():
                self.first.weight.fill_(3e38)
        def forward(self, x):
            return self.second(self.first(x.flatten(1)))

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5, 4)
            self.head = nn.Linear(4, 5)
        def forward(self, tokens):
            return self.head(self.embedding(tokens))

    class Writer(Reader):
        def step(self, tokens, kept=None):
            return self(tokens)[:, -1], kept

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Linear(64, 64)
            self.leave = nn.Linear(64, 64)
            self.leave.weight = self.enter.weight
            self.scale = nn.Parameter(torch.ones(64))
        def forward(self, x):
            return self.leave(self.enter(x.flatten(1))) * self.scale
"""


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let ``fp8_dynamic`` be made on a CPU, which torchao and we would refuse; torch takes `cpu:0` for another device.

    It skips where torch's CPU has no product of float8 by rows.
    """
    import_torchao()
    ones, scale = torch.ones(16, 16).to(torch.float8_e4m3fn), torch.ones(16, 1)
    try:
        torch._scaled_mm(ones, ones.t(), scale, scale.t(), out_dtype=torch.bfloat16)
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} computes no float8 on the CPU: {error}")
    monkeypatch.setattr("torchao.quantization.quant_api._check_hardware_support", lambda _granularities: None)
    monkeypatch.setattr(Fp8Dynamic, "needs", {"device": "cpu", "inputs": "bfloat16"})
    monkeypatch.setattr(Fp8Dynamic, "device_refusal", lambda *_: None)
    return "cpu:0"


@pytest.fixture
def convnet() -> nn.Module:
    """A ConvNet whose batch normalisation has seen data."""
    torch.manual_seed(0)
    model = models.build_model(CONVNET, trusted=[])
    model(torch.randn(64, 1, 8, 8))
    return model.eval()


@pytest.fixture
def sparse_convnet(convnet: nn.Module) -> nn.Module:
    """Every other weight of it is zero."""
    for weight in models.prunable_weights(convnet).values():
        with torch.no_grad():
            weight.view(-1)[::2] = 0
    return convnet


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(model: nn.Module, form: str = "dense", config: dict = CONVNET) -> Path:
        folder = tmp_path / "float"
        models.save_model(folder, model, form=form, model_config=config, input_shape=[1, 8, 8], lineage={})
        return folder

    return save


@pytest.fixture
def save_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[..., Path]) -> Callable[[str], Path]:
    (tmp_path / "nets_to_quantize.py").write_text(textwrap.dedent(OWN_NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def save_named(name: str) -> Path:
        torch.manual_seed(0)
        config = {"_target_": f"nets_to_quantize.{name}"}
        return save(models.build_model(config, trusted=["nets_to_quantize"]).eval(), config=config)

    return save_named


@pytest.fixture
def calibration() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((100, 1, 8, 8)).astype(np.float32)


@pytest.fixture
def settings() -> Callable[..., CalibratedQuantizeConfig]:
    """The group `quantize` for one method."""

    def settings(method: str, **changes) -> CalibratedQuantizeConfig:
        values = {
            "calibration_samples": 100,
            "calibration_text": "data",
            "calibration_method": "minmax",
            "skip": [],
            "overrides": {},
            "recovery": RecoveryConfig(steps=0, learning_rate=0.001, batch_size=32, zeros=False),
            "sensitivity_samples": 0,
            "mixed": MixedConfig(max_size_ratio=None, max_divergence_nats=None),
            "min_agreement": 0.0,
        }
        return CalibratedQuantizeConfig(version=2, methods=[method], **values | changes)

    return settings


@pytest.fixture
def quantize(
    tmp_path: Path, calibration: np.ndarray, settings: Callable[..., CalibratedQuantizeConfig]
) -> Callable[..., quantization.QuantizationReport]:
    """Quantize into ``tmp_path / method``."""

    def quantize(method: str, folder: Path, samples: np.ndarray = calibration, *, device: str = "cpu", **changes):
        return quantization.quantize(
            method,
            folder,
            tmp_path / method,
            calibration=samples,
            settings=settings(method, **changes),
            lineage={"stage": "quantize"},
            trusted=["nets_to_quantize"],
            device=device,
        )

    return quantize
