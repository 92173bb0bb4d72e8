"""Groups of the configuration with values for small models; a test names what it changes."""

from typing import Any

from overwinter.config.groups import FitConfig
from overwinter.quantization.settings import CalibratedQuantizeConfig, MixedConfig, ScaleDistillationConfig

FIT = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
    "warmup_fraction": 0.1,
    "gradient_clip_norm": 1.0,
    "patience_epochs": 0,
    "precision": "fp32",
    "checkpoint_interval_s": 0.0,
}


def fit_settings(**changes: Any) -> FitConfig:
    """Return how a model is trained."""
    return FitConfig(**FIT | changes)


def quantize_settings(method: str, **changes: Any) -> CalibratedQuantizeConfig:
    """Return the group `quantize` for one method."""
    values = {
        "calibration_samples": 100,
        "calibration_text": "data",
        "calibration_method": "minmax",
        "skip": [],
        "overrides": {},
        "embedding": "int8",
        "head": "as_embedding",
        "scale_distillation": ScaleDistillationConfig(steps=0, learning_rate=0.001, batch_size=32, zeros=False),
        "sensitivity_samples": 0,
        "mixed": MixedConfig(max_size_ratio=None, max_divergence=None),
        "min_agreement": 0.0,
    }
    return CalibratedQuantizeConfig(version=2, methods=[method], **values | changes)
