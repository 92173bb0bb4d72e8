"""Saved models to quantize, and what to quantize them with."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from overwinter import models, quantization
from overwinter.quantization.torchao_variants import Fp8Dynamic
from overwinter.runtime import import_torchao
from overwinter.signature import Signature
from overwinter.tasks import Classification, LanguageModeling, Task
from tests.support.networks import CONVNET as SMALL
from tests.support.networks import seasoned
from tests.support.settings import quantize_settings

CONVNET = SMALL | {"channels": [8, 12]}

IMAGES = Signature.of_one([1, 8, 8])
SIGNATURES = {name: Signature.of_one([None], dtype="int64") for name in ("Reader", "Writer")}
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

    class AroundALevel(nn.Module):
        '''Predicts small differences from a level that is large.'''
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(64, 8)
            self.head = nn.Linear(8, 3)
        def forward(self, x):
            values = 340 + x.flatten(1)
            level = values.mean(1, keepdim=True)
            return level + self.head(torch.relu(self.body(values - level)))

    class Loud(nn.Module):
        '''A transformer's feed-forward layer, one of whose channels is much larger than the others.'''
        def __init__(self):
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
            self.head = nn.Linear(8, 3)
            with torch.no_grad():
                self.norm.weight[2] = 60.0
        def forward(self, x):
            states = self.norm(x.flatten(1, 2))
            return self.head((states + self.down(torch.relu(self.up(states)))).mean(1))

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
    return seasoned(CONVNET)


@pytest.fixture
def sparse_convnet(convnet: nn.Module) -> nn.Module:
    """Every other weight of it is zero."""
    for weight in models.prunable_weights(convnet).values():
        with torch.no_grad():
            weight.view(-1)[::2] = 0
    return convnet


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(model: nn.Module, variant: str = "dense", config: dict = CONVNET, signature: Signature = IMAGES) -> Path:
        folder = tmp_path / "float"
        models.save_model(folder, model, variant=variant, model_config=config, signature=signature, lineage={})
        return folder

    return save


@pytest.fixture
def save_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[..., Path]) -> Callable[[str], Path]:
    (tmp_path / "nets_to_quantize.py").write_text(textwrap.dedent(OWN_NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def save_named(name: str) -> Path:
        torch.manual_seed(0)
        config = {"_target_": f"nets_to_quantize.{name}"}
        model = models.build_model(config, trusted=["nets_to_quantize"]).eval()
        return save(model, config=config, signature=SIGNATURES.get(name, IMAGES))

    return save_named


@pytest.fixture
def calibration() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((100, 1, 8, 8)).astype(np.float32)


def task_of(samples: np.ndarray) -> Task:
    """Text for tokens, else classes."""
    return LanguageModeling(()) if samples.dtype.kind == "i" else Classification(("a", "b", "c"))


@pytest.fixture
def quantize(tmp_path: Path, calibration: np.ndarray) -> Callable[..., quantization.QuantizationReport]:
    """Quantize into ``tmp_path / method``."""

    def quantize(
        method: str,
        folder: Path,
        samples: np.ndarray = calibration,
        *,
        held_out: np.ndarray | None = None,
        device: str = "cpu",
        task: Task | None = None,
        **changes,
    ):
        return quantization.quantize(
            method,
            folder,
            tmp_path / method,
            calibration=samples,
            held_out=samples if held_out is None else held_out,
            task=task or task_of(samples),
            settings=quantize_settings(method, **changes),
            lineage={"stage": "quantize"},
            trusted=["nets_to_quantize", "nets_with_fixed_weights", "nets_of_kinds"],
            device=device,
        )

    return quantize


ALONE = """
import sys
import numpy as np
from pathlib import Path
from overwinter import quantization
from overwinter.tasks import Classification
from tests.support.settings import quantize_settings
method, folder, out, samples = sys.argv[1:]
samples = np.load(samples)
quantization.quantize(method, Path(folder), Path(out), settings=quantize_settings(method),
                      calibration=samples, held_out=samples, lineage={}, trusted=[],
                      task=Classification(("a", "b", "c")))
assert method != "int8_static" or "torchao" not in sys.modules, "torchao takes seconds to import"
"""


@pytest.fixture
def quantize_twice(tmp_path: Path, calibration: np.ndarray) -> Callable[[str, Path], list[dict[str, bytes]]]:
    """Quantize in two processes, which must say nothing; return the files that each makes."""

    def quantize_twice(method: str, folder: Path) -> list[dict[str, bytes]]:
        np.save(tmp_path / "samples.npy", calibration)
        made = []
        for seed in ("1", "2"):
            words = [method, str(folder), str(tmp_path / seed), str(tmp_path / "samples.npy")]
            environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
            command = [sys.executable, "-W", "error", "-c", ALONE, *words]
            done = subprocess.run(command, env=environment, check=True, capture_output=True)
            assert done.stdout + done.stderr == b""
            made.append({path.name: path.read_bytes() for path in sorted((tmp_path / seed).iterdir())})
        return made

    return quantize_twice
