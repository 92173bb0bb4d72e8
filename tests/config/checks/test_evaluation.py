from types import SimpleNamespace

import pytest

from overwinter.config.checks.evaluation import check_evaluate, check_hibernate
from overwinter.config.groups import EvaluateConfig, HibernateConfig, LanguageEvaluateConfig
from overwinter.errors import ConfigError


def evaluate(**changes):
    values = {
        "version": 1,
        "runtimes": ["torch", "onnxruntime"],
        "batch_sizes": [1, 32],
        "choose_at_batch_size": 32,
        "max_quality_loss": 0.01,
        "repeats": 15,
        "sample_duration_s": 0.04,
        "threads": 1,
        "confidence": 0.95,
    }
    check_evaluate(SimpleNamespace(evaluate=EvaluateConfig(**values | changes)))


def language(**changes):
    values = {
        "version": 1,
        "max_perplexity_increase": 0.02,
        "prompt_tokens": 8,
        "answer_tokens": 4,
        "repeats": 3,
        "sample_duration_s": 0.1,
        "threads": 1,
        "confidence": 0.95,
    }
    check_evaluate(SimpleNamespace(evaluate=LanguageEvaluateConfig(**values | changes)))


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
    check_hibernate(SimpleNamespace(hibernate=HibernateConfig(**values | changes)))


def test_good_values_pass():
    evaluate()
    hibernate(sign_key="env:KEY", encryption_keys=["file:a b"], publish="s3://bucket/x#digits@candidate")
    evaluate(runtimes=["torch"], batch_sizes=[1], choose_at_batch_size=1, max_quality_loss=0)
    language()
    hibernate()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtimes": []}, "evaluate.runtimes is empty"),
        ({"runtimes": ["torch", "torch"]}, "names one twice"),
        ({"batch_sizes": [0, 32]}, "evaluate.batch_sizes=0"),
        ({"choose_at_batch_size": 8}, "choose_at_batch_size=8 is not among"),
        ({"max_quality_loss": 1.5}, "evaluate.max_quality_loss=1.5"),
        ({"max_quality_loss": float("nan")}, "evaluate.max_quality_loss=nan"),
        ({"repeats": 2}, "evaluate.repeats=2 must be at least 3"),
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
        ({"max_perplexity_increase": -0.1}, "evaluate.max_perplexity_increase=-0.1"),
        ({"max_perplexity_increase": float("nan")}, "evaluate.max_perplexity_increase=nan"),
        ({"prompt_tokens": 0}, "evaluate.prompt_tokens=0"),
        ({"answer_tokens": 0}, "evaluate.answer_tokens=0"),
        ({"repeats": 2}, "evaluate.repeats=2"),
        ({"confidence": 1.0}, "evaluate.confidence=1.0"),
    ],
)
def test_bad_values_of_a_language_models_evaluate_are_refused_with_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        language(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canary_samples": 0}, "hibernate.canary_samples=0"),
        ({"canary_tolerance": 0.0}, "hibernate.canary_tolerance=0.0"),
        ({"canary_tolerance": float("nan")}, "hibernate.canary_tolerance=nan"),
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
