from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from overwinter.config import check_settings
from overwinter.config.groups import TrainConfig
from overwinter.config.groups.training import check_trained_grids
from overwinter.errors import ConfigError
from overwinter.training.qat.settings import QatConfig, QatTrainConfig, RelaxedQatConfig, RelaxedQatTrainConfig


def check_train(config):
    check_settings(config.train, key="train")
    config.train.check("train")
    check_trained_grids(config)


def test_good_settings_pass(settings):
    check_settings(settings, key="train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("weight_decay", -0.1),
        ("warmup_fraction", 1.1),
        ("gradient_clip_norm", 0.0),
        ("patience_epochs", -1),
        ("precision", "fp8"),
        ("checkpoint_interval_s", -1.0),
    ],
)
def test_a_value_out_of_range_is_named(settings, key, value):
    with pytest.raises(ConfigError, match=f"sparsify.fit.{key}="):
        check_settings(replace(settings, **{key: value}), key="sparsify.fit")


def whole_config(train, methods=("qat",), sparsify="none"):
    return SimpleNamespace(
        train=train, quantize=SimpleNamespace(methods=list(methods)), sparsify=SimpleNamespace(method=sparsify)
    )


QAT = {
    "rounding": "straight_through",
    "scale": "observed",
    "weight_bits": 4,
    "group_size": None,
    "symmetric": True,
    "activation_bits": 8,
    "start_fraction": 0.3,
    "freeze_fraction": 0.7,
    "skip": [],
}
RELAXATION = {
    "rounding": "relaxed",
    "temperature": 1.0,
    "noise": 0.3,
    "final_noise_share": 0.1,
    "neighbours": 1,
    "relax_activations": False,
}


def qat_config(settings, **changes):
    fit = {**asdict(settings), "version": 1}
    if str(changes.get("rounding", "")).startswith("relaxed"):
        return RelaxedQatTrainConfig(**fit, qat=RelaxedQatConfig(**QAT | RELAXATION | changes))
    return QatTrainConfig(**fit, qat=QatConfig(**QAT | changes))


def test_good_qat_settings_pass(settings):
    check_train(whole_config(qat_config(settings)))
    check_train(whole_config(qat_config(settings, rounding="relaxed")))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rounding", "up"),
        ("scale", "guessed"),
        ("weight_bits", 1),
        ("weight_bits", 9),
        ("activation_bits", 16),
        ("group_size", 0),
        ("start_fraction", 1.0),
        ("start_fraction", -0.1),
        ("freeze_fraction", 1.1),
        ("freeze_fraction", 0.3),
    ],
)
def test_a_qat_value_out_of_range_is_named(settings, key, value):
    with pytest.raises(ConfigError, match=f"train.qat.{key}="):
        check_train(whole_config(qat_config(settings, **{key: value})))


@pytest.mark.parametrize(
    ("key", "value"), [("temperature", 0.0), ("noise", 0.0), ("final_noise_share", 0.0), ("neighbours", 0)]
)
def test_a_relaxed_value_out_of_range_is_named(settings, key, value):
    with pytest.raises(ConfigError, match=f"train.qat.{key}="):
        check_train(whole_config(qat_config(settings, rounding="relaxed", **{key: value})))


def test_quantizing_to_trained_grids_needs_grids(settings):
    with pytest.raises(ConfigError, match=r"train.qat is not set"):
        check_train(whole_config(TrainConfig(**asdict(settings), version=1)))
    with pytest.raises(ConfigError, match=r"sparsify.method=channels changes the weights.*sparsify=none"):
        check_train(whole_config(qat_config(settings), sparsify="channels"))
