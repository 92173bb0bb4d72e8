from dataclasses import replace

import pytest
import torch
from torch import nn

from overwinter import training
from overwinter.data import InMemory, RandomShift, Split
from overwinter.tasks import Classification
from tests.support.settings import fit_settings

SETTINGS = fit_settings(warmup_fraction=0.2)
TASK = Classification(["dark", "bright"], label_smoothing=0.1)


@pytest.fixture
def task():
    return TASK


@pytest.fixture
def settings():
    return SETTINGS


def split(samples: int, seed: int, transform=None) -> Split:
    """Images whose brighter half is their label: easy, but not at once."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (samples,), generator=generator)
    images = torch.randn(samples, 1, 4, 4, generator=generator)
    images[:, 0, :2] += (labels * 2.0 - 1.0)[:, None, None]
    return Split(InMemory(images, labels, transform=transform))


@pytest.fixture
def train():
    return split(44, 1, RandomShift(1, 0.0))


@pytest.fixture
def validation():
    return split(32, 2)


@pytest.fixture
def new_model():
    """Makes equal models, with dropout and batch normalisation, which remember and draw."""

    def new_model() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(64, 2),
        )

    return new_model


@pytest.fixture
def fit(new_model, train, validation):
    """Fits a new model to the small task; settings and arguments can be changed by name."""

    def fit(*, model=None, train=train, validation=validation, **changes):
        arguments = {"task": TASK, "seed": 7, "device": torch.device("cpu"), "threads": 1}
        names = {"hooks", "frozen", "spent_j", "loss", "trusted", "checkpoints", "progress", *arguments}
        arguments |= {name: changes.pop(name) for name in names & set(changes)}
        return training.fit(model or new_model(), train, validation, replace(SETTINGS, **changes), **arguments)

    return fit
