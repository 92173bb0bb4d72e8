from types import SimpleNamespace

import pytest

from overwinter.config import check_settings
from overwinter.config.groups.evaluation import (
    EvaluateConfig,
    HibernateConfig,
    check_evaluate,
    check_hibernate,
)
from overwinter.errors import ConfigError


def evaluate(**changes):
    values = {
        "version": 1,
        "runtimes": ["torch", "onnxruntime"],
        "batch_sizes": [1, 32],
        "choose_at_batch_size": 32,
        "max_quality_loss": 0.01,
        "max_losses": {},
        "corruptions": [],
        "measures": {},
        "measure_loading": False,
        "prompt_tokens": None,
        "written_tokens": None,
        "repeats": 15,
        "max_repeats": 30,
        "precision": 0.02,
        "sample_duration_s": 0.04,
        "threads": 1,
        "confidence": 0.95,
    }
    group = EvaluateConfig(**values | changes)
    check_settings(group, key="evaluate")
    data = {"_target_": "overwinter.data.Text", "length": 64}
    check_evaluate(SimpleNamespace(evaluate=group, trusted_targets=["mine"], data=data))


def hibernate(**changes):
    values = {
        "version": 1,
        "canary_samples": 4,
        "canary_tolerance": 0.001,
        "wake_repeats": 3,
        "sign_key": None,
        "encryption_keys": [],
        "publish": None,
        "licence": None,
        "notes": None,
    }
    group = HibernateConfig(**values | changes)
    check_settings(group, key="hibernate")
    check_hibernate(SimpleNamespace(hibernate=group))


def test_good_values_pass():
    evaluate()
    hibernate(sign_key="env:KEY", encryption_keys=["file:a b"], publish="s3://bucket/x#digits@candidate")
    evaluate(
        corruptions=["blur", "noise"],
        measures={"own": {"_target_": "mine.Measure", "label": 3}},
        max_losses={"own": 0.1, "accuracy_blur": 0.2, "calibration_error": 0},
    )
    evaluate(runtimes=["torch"], batch_sizes=[1], choose_at_batch_size=1, max_quality_loss=0)
    evaluate(prompt_tokens=64, written_tokens=4)
    hibernate()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtimes": []}, "evaluate.runtimes is empty"),
        ({"runtimes": ["torch", "torch"]}, "has a duplicate"),
        ({"batch_sizes": [0, 32]}, r"evaluate.batch_sizes=\[0, 32\] has 0"),
        ({"choose_at_batch_size": 8}, "choose_at_batch_size=8 is not among"),
        ({"max_quality_loss": 1.5}, "evaluate.max_quality_loss=1.5"),
        ({"max_quality_loss": float("nan")}, "evaluate.max_quality_loss=nan"),
        ({"max_losses": {"worst_class_accuracy": -0.1}}, r"evaluate\.max_losses\.worst_class_accuracy=-0\.1"),
        ({"corruptions": ["nois"]}, "evaluate.corruptions='nois' is unknown.*Did you mean 'noise'"),
        ({"measures": {"A b": {"_target_": "mine.Measure"}}}, r"evaluate\.measures\.A b: "),
        ({"measures": {"own": 3}}, r"evaluate\.measures\.own\._target_ is missing"),
        (
            {"measures": {"own": {"_target_": "os.system"}}},
            r"evaluate\.measures\.own\._target_='os.system' is not trusted",
        ),
        ({"prompt_tokens": 0, "written_tokens": 4}, "evaluate.prompt_tokens=0"),
        ({"prompt_tokens": 8}, "evaluate.prompt_tokens needs evaluate.written_tokens"),
        (
            {"prompt_tokens": 65, "written_tokens": 4},
            "evaluate.prompt_tokens=65 is larger than the window, data.length=64",
        ),
        ({"repeats": 2}, "evaluate.repeats=2 must be at least 3"),
        ({"max_repeats": 14}, "evaluate.max_repeats=14 must be at least 15"),
        ({"precision": 0.0}, "evaluate.precision=0.0"),
        ({"sample_duration_s": 0.0}, "evaluate.sample_duration_s=0.0"),
        ({"threads": 0}, "evaluate.threads=0"),
        ({"confidence": 1.0}, "evaluate.confidence=1.0"),
    ],
)
def test_bad_values_of_evaluate_are_refused_with_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canary_samples": 0}, "hibernate.canary_samples=0"),
        ({"canary_tolerance": 0.0}, "hibernate.canary_tolerance=0.0"),
        ({"canary_tolerance": float("nan")}, "hibernate.canary_tolerance=nan"),
        ({"canary_tolerance": float("inf")}, "hibernate.canary_tolerance=inf"),
        ({"canary_tolerance": 0.11}, r"hibernate.canary_tolerance=0.11 must be above 0 and at most 0\.1"),
        ({"wake_repeats": 0}, "hibernate.wake_repeats=0"),
        ({"sign_key": "deadbeef"}, "hibernate.sign_key must be file:PATH"),
        ({"encryption_keys": ["file:k", "env:"]}, "hibernate.encryption_keys must be file:PATH"),
        ({"publish": "s3://bucket"}, "hibernate.publish='s3://bucket'"),
        ({"publish": "store#Digits@1"}, "hibernate.publish='store#Digits@1'"),
    ],
)
def test_bad_values_of_hibernate_are_refused_with_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        hibernate(**changes)
