"""A saved model, and modules of one's own that misbehave."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from overwinter import models

CONVNET = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 8, 8],
    "classes": 3,
    "channels": [4, 6],
    "pool_after": [1],
}

OWN_NETS = """
    import torch
    from torch import nn

    class FixedBatch(nn.Module):
        '''Uses the traced batch size as a constant.'''
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 3)
        def forward(self, x):
            return self.head(x.reshape(int(x.shape[0]), 64))

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 3)
        def forward(self, x):
            return self.head(x.flatten(1))

    class Branching(nn.Module):
        '''Branches on its input's values.'''
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 3)
        def forward(self, x):
            y = self.head(x.flatten(1))
            return y if x.mean() > 0 else -y

    class Bessel(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    class Unexportable(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), Bessel())
            self.head = nn.Linear(64, 3)
        def forward(self, x):
            return self.head(self.body(x))

    class OwnUnexportable(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 3)
        def forward(self, x):
            return self.head(torch.special.bessel_j0(x).flatten(1))
"""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A dense ConvNet whose batch normalisation has seen data."""
    torch.manual_seed(0)
    model = models.build_model(CONVNET, trusted=[])
    model(torch.randn(64, 1, 8, 8))
    models.save_model(
        tmp_path / "saved",
        model.eval(),
        form="dense",
        model_config=CONVNET,
        input_shape=[1, 8, 8],
        lineage={},
    )
    return tmp_path / "saved"


@pytest.fixture
def save_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Save a module of one's own by its class name."""
    (tmp_path / "nets_to_run.py").write_text(textwrap.dedent(OWN_NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def save(name: str) -> Path:
        config = {"_target_": f"nets_to_run.{name}"}
        model = models.build_model(config, trusted=["nets_to_run"]).eval()
        folder = tmp_path / name
        models.save_model(folder, model, form="dense", model_config=config, input_shape=[1, 8, 8], lineage={})
        return folder

    return save
