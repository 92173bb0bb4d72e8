import pytest
import torch

from overwinter.data import InMemory, Split
from overwinter.sparsity.settings import ChannelsConfig, MagnitudeConfig, OneShotConfig, RecoveryConfig, SparseGptConfig
from tests.support.settings import fit_settings

NO_RECOVERY = RecoveryConfig(method="none", steps=20, learning_rate=3e-3, batch_size=4, fine_tuning=None)
FIT = fit_settings(epochs=4, weight_decay=0.0)


@pytest.fixture
def settings():
    return FIT


@pytest.fixture
def magnitude_config():
    def magnitude_config(**changes):
        values = {
            "version": 1,
            "method": "magnitude",
            "amount": 0.75,
            "skip": [],
            "distillation_weight": 0.5,
            "distillation_temperature": 2.0,
            "distillation_features": [],
            "distillation_feature_weight": 1.0,
            "fit": FIT,
            "scope": "global",
            "ramp_fraction": 0.5,
            "update_interval_steps": 2,
        }
        return MagnitudeConfig(**(values | changes))

    return magnitude_config


@pytest.fixture
def channels_config():
    def channels_config(**changes):
        values = {
            "version": 1,
            "method": "channels",
            "amount": 0.5,
            "skip": [],
            "distillation_weight": 0.5,
            "distillation_temperature": 2.0,
            "distillation_features": [],
            "distillation_feature_weight": 1.0,
            "fit": FIT,
        }
        return ChannelsConfig(**(values | changes))

    return channels_config


@pytest.fixture
def one_shot_config():
    def one_shot_config(**changes):
        values = {
            "version": 1,
            "method": "one_shot",
            "amount": 0.5,
            "score": "wanda",
            "pattern": "unstructured",
            "scope": "row",
            "ratios": "uniform",
            "skip": [],
            "head": False,
            "swaps": 0,
            "calibration_samples": 6,
            "calibration_text": "data",
            "sparsegpt": SparseGptConfig(dampening=0.01, column_block=16),
            "max_quality_loss": None,
            "min_amount": 0.1,
            "trials": 5,
            "recovery": NO_RECOVERY,
        }
        return OneShotConfig(**(values | changes))

    return one_shot_config


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def train(images):
    return Split(InMemory(images, torch.arange(6) % 2))
