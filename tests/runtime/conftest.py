"""A saved model, and user modules that misbehave."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from overwinter import models
from overwinter.signature import Signature
from tests.support.networks import CONVNET, save_dense, seasoned

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
    return save_dense(tmp_path / "saved", seasoned(CONVNET), CONVNET, Signature.of_one([1, 8, 8]))


@pytest.fixture
def save_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Save a user module by its class name."""
    (tmp_path / "nets_to_run.py").write_text(textwrap.dedent(OWN_NETS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def save(name: str) -> Path:
        config = {"_target_": f"nets_to_run.{name}"}
        model = models.build_model(config, trusted=["nets_to_run"]).eval()
        return save_dense(tmp_path / name, model, config, Signature.of_one([1, 8, 8]))

    return save
