"""The groups `evaluate/` and `hibernate/`: what their types cannot say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.canary import MOST_TOLERANCE
from overwinter.config.checks.text import TEXT_TARGETS
from overwinter.config.groups import Config, EvaluateConfig, LanguageEvaluateConfig
from overwinter.config.targets import MEASURE, trusted_target
from overwinter.errors import ConfigError, nearest
from overwinter.registries import RUNTIMES

CORRUPTIONS = ("blur", "contrast", "missing", "noise")
# Of comparison.json, beside the accuracy, which has a limit of its own.
MEASURES = ("agreement_with_dense", "calibration_error", "top5_accuracy", "worst_class_accuracy")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SOURCE = re.compile(r"(file|env|command):.+")
_PUBLISH = re.compile(r".+#[a-z0-9][a-z0-9._-]{0,63}(@[a-z][a-z0-9._-]{0,63})?")


def check_evaluate(config: Config) -> None:
    """Check the group `evaluate`.

    Raises:
        ConfigError: a value is out of range, or nothing is named where something must be.
    """
    evaluate = config.evaluate
    for runtime in evaluate.runtimes:
        RUNTIMES.check(runtime)
    if isinstance(evaluate, LanguageEvaluateConfig):
        _check_language(evaluate)
        _check_prompt(evaluate.prompt_tokens, config.data)
    else:
        _check_forms(evaluate, config.trusted_targets)
    _check_least("evaluate.repeats", evaluate.repeats, 3)
    _check_least("evaluate.threads", evaluate.threads, 1)
    if not 0 < evaluate.sample_duration_s <= 60:
        raise ConfigError(f"evaluate.sample_duration_s={evaluate.sample_duration_s} must be above 0 and at most 60.")
    if not 0.5 <= evaluate.confidence < 1:
        raise ConfigError(f"evaluate.confidence={evaluate.confidence} must be at least 0.5 and below 1.")


def _check_forms(evaluate: EvaluateConfig, trusted: Sequence[str]) -> None:
    _check_named("evaluate.runtimes", evaluate.runtimes)
    _check_named("evaluate.batch_sizes", evaluate.batch_sizes)
    for size in evaluate.batch_sizes:
        _check_least("evaluate.batch_sizes", size, 1)
    if evaluate.choose_at_batch_size not in evaluate.batch_sizes:
        raise ConfigError(
            f"evaluate.choose_at_batch_size={evaluate.choose_at_batch_size} is not among "
            f"evaluate.batch_sizes={evaluate.batch_sizes}. Name one of them."
        )
    _check_measures(evaluate.measures, trusted)
    _check_limits(evaluate)
    _check_least("evaluate.most_repeats", evaluate.most_repeats, evaluate.repeats)
    if not 0 < evaluate.precision < 1:
        raise ConfigError(f"evaluate.precision={evaluate.precision} must be above 0 and below 1; 0.02 is 2 %.")


def _check_measures(measures: Mapping[str, Any], trusted: Sequence[str]) -> None:
    for name, node in measures.items():
        key = f"evaluate.measures.{name}"
        if name in ("accuracy", "worst_class", *MEASURES) or not _NAME.fullmatch(str(name)):
            raise ConfigError(f"{key}: a measure of yours needs a name of its own, of small letters, digits and _.")
        trusted_target(node if isinstance(node, Mapping) else {}, MEASURE, trusted=trusted, key=key)


def _check_limits(evaluate: EvaluateConfig) -> None:
    if not 0 <= evaluate.max_quality_loss < 1:
        raise ConfigError(
            f"evaluate.max_quality_loss={evaluate.max_quality_loss} must be at least 0 and below 1; 0.01 is one point."
        )
    for corruption in evaluate.corruptions:
        _check_known("evaluate.corruptions", corruption, CORRUPTIONS)
    measured = [*MEASURES, *(f"accuracy_{name}" for name in evaluate.corruptions), *evaluate.measures]
    for name, loss in evaluate.max_losses.items():
        _check_known("evaluate.max_losses", name, measured)
        if not loss >= 0:
            raise ConfigError(f"evaluate.max_losses.{name}={loss} must be 0 or more; 0.01 is one point.")


def _check_language(evaluate: LanguageEvaluateConfig) -> None:
    _check_named("evaluate.runtimes", evaluate.runtimes)
    if not 0 <= evaluate.max_perplexity_increase < 10:
        raise ConfigError(
            f"evaluate.max_perplexity_increase={evaluate.max_perplexity_increase} must be at least 0 and below 10; "
            "0.02 is 2 % above the dense model's."
        )
    _check_least("evaluate.prompt_tokens", evaluate.prompt_tokens, 1)
    _check_least("evaluate.answer_tokens", evaluate.answer_tokens, 1)


def _check_prompt(prompt_tokens: int, config_data: Mapping[str, Any]) -> None:
    length = config_data.get("length")
    if config_data.get("_target_") in TEXT_TARGETS and isinstance(length, int) and prompt_tokens > length:
        raise ConfigError(
            f"evaluate.prompt_tokens={prompt_tokens} is more than a window has: data.length={length}. "
            "Lower it, or lengthen the windows."
        )


def check_hibernate(config: Config) -> None:
    """Check the group `hibernate`.

    Raises:
        ConfigError: a value is out of range.
    """
    hibernate = config.hibernate
    for key, sources in (
        ("sign_key", [hibernate.sign_key] if hibernate.sign_key is not None else []),
        ("encryption_keys", hibernate.encryption_keys),
    ):
        if not all(_SOURCE.fullmatch(source) for source in sources):
            raise ConfigError(
                f"hibernate.{key} must be file:PATH, env:NAME or command:WORDS. Don't write the key itself."
            )
    if hibernate.publish is not None and not _PUBLISH.fullmatch(hibernate.publish):
        raise ConfigError(
            f"hibernate.publish={hibernate.publish!r} must be STORE#NAME@ALIAS, such as s3://models#digits@candidate."
        )
    _check_least("hibernate.canary_samples", hibernate.canary_samples, 1)
    _check_least("hibernate.wake_repeats", hibernate.wake_repeats, 1)
    if not 0 < hibernate.canary_tolerance <= MOST_TOLERANCE:
        raise ConfigError(
            f"hibernate.canary_tolerance={hibernate.canary_tolerance} must be above 0 and at most {MOST_TOLERANCE}: a "
            "share of the largest recorded logit. No bundle with a larger one is woken."
        )


def _check_known(key: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"{key} names {name!r}, which is unknown. Known: {', '.join(known)}.{nearest(name, known)}")


def _check_named(key: str, values: Sequence[Any]) -> None:
    if not values:
        raise ConfigError(f"{key} is empty. Name at least one.")
    if len(set(values)) < len(values):
        raise ConfigError(f"{key}={list(values)} names one twice. Name each once.")


def _check_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key}={value} must be at least {least}.")
