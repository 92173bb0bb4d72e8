from dataclasses import asdict

import pytest
import torch

from overwinter import training
from overwinter.data import InMemory, Split
from overwinter.models import build_model
from overwinter.tasks import Classification
from overwinter.training.qat.settings import QatConfig, QatTrainConfig, RelaxedQatConfig, RelaxedQatTrainConfig
from tests.support.settings import FIT as SMALL

CONVNET = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 4, 4],
    "classes": 2,
    "channels": [4, 6],
    "dropout": 0.1,
}
FIT = SMALL | {"version": 1, "epochs": 6}
STRAIGHT = QatConfig(
    rounding="straight_through",
    scale="observed",
    weight_bits=4,
    group_size=None,
    symmetric=True,
    activation_bits=8,
    start_fraction=0.3,
    freeze_fraction=0.7,
    skip=[],
)
RELAXED = RelaxedQatConfig(
    **asdict(STRAIGHT) | {"rounding": "relaxed", "scale": "learned"},
    temperature=1.0,
    noise=0.3,
    final_noise_share=0.1,
    neighbours=1,
    relax_activations=True,
)

TASK = Classification(["dark", "bright"])


def make_config(settings: QatConfig) -> QatTrainConfig:
    made = RelaxedQatTrainConfig if isinstance(settings, RelaxedQatConfig) else QatTrainConfig
    return made(**FIT, qat=settings)


def images(samples: int, seed: int) -> Split:
    """Images whose brighter half is their label."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (samples,), generator=generator)
    pixels = torch.randn(samples, 1, 4, 4, generator=generator)
    pixels[:, 0, :2] += (labels * 2.0 - 1.0)[:, None, None]
    return Split(InMemory(pixels, labels))


@pytest.fixture
def straight():
    return STRAIGHT


@pytest.fixture
def relaxed():
    return RELAXED


@pytest.fixture
def fit_settings():
    return FIT


@pytest.fixture
def train_config():
    return make_config


@pytest.fixture
def validation():
    return images(64, 2)


@pytest.fixture
def new_model():
    return lambda: build_model(CONVNET, trusted=[], seed=3)


@pytest.fixture
def fit():
    """Trains a model to the small task; gives the result and its awareness."""

    def fit(model, settings, *, hooks=(), **arguments):
        config = make_config(settings)
        awareness = training.make_aware(model, config)
        arguments = {"task": TASK, "seed": 7, "device": torch.device("cpu"), "threads": 1} | arguments
        hooks = [*hooks, *awareness.hooks]
        result = training.fit(model, images(44, 1), images(64, 2), config, hooks=hooks, **arguments)
        return result, awareness

    return fit
