import pytest
import torch

from overwinter import models
from overwinter.signature import Signature
from tests.support.networks import CONVNET


@pytest.fixture
def config():
    return dict(CONVNET)


@pytest.fixture
def convnet(config):
    return models.build_model(config, trusted=[]).eval()


@pytest.fixture
def images():
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def save(tmp_path):
    def save(model, config, **changes):
        arguments = {
            "variant": "dense",
            "signature": Signature.of_one([1, 8, 8]),
            "lineage": {"stage": "train"},
            **changes,
        }
        return models.save_model(tmp_path / "model", model, model_config=config, **arguments)

    return save
