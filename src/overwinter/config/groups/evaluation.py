"""The groups `evaluate/` and `hibernate/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.canary import MAX_TOLERANCE
from overwinter.config.settings import setting
from overwinter.config.targets import MEASURE, TEXT_TARGETS, trusted_target
from overwinter.errors import ConfigError
from overwinter.registries import RUNTIMES

if TYPE_CHECKING:
    from overwinter.config.groups import Config

CORRUPTIONS = ("blur", "contrast", "missing", "noise")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SOURCE = re.compile(r"(file|env|command):.+")
_PUBLISH = re.compile(r".+#[a-z0-9][a-z0-9._-]{0,63}(@[a-z][a-z0-9._-]{0,63})?")


@dataclass
class EvaluateConfig:
    """The stage `evaluate`. A response is one output, or, of a task that generates, a prompt read and its tokens."""

    version: int = setting("raised when the stage's behaviour changes")
    runtimes: list[str] = setting("runtimes to measure; the dense model runs on all of them")
    batch_sizes: list[int] = setting("batch sizes at which each variant is timed", at_least=1)
    choose_at_batch_size: int = setting("batch size at which joules per response decide the choice")
    max_quality_loss: float = setting(
        "largest allowed loss of the task's headline measure against dense: 0.01 is one point, or 1 % of an error or a "
        "perplexity",
        at_least=0,
        below=1,
    )
    max_losses: dict[str, float] = setting(
        "largest allowed losses of other measures in comparison.json: {worst_class_accuracy: 0.02}", at_least=0
    )
    corruptions: list[str] = setting(
        "corruptions of float inputs under which the headline is also measured: noise, contrast, blur, missing; [] for "
        "none",
        choices=CORRUPTIONS,
    )
    measures: dict[str, Any] = setting(
        "your own measures, called with outputs and targets; higher is better unless their higher_is_better is False: "
        "{NAME: {_target_: my_package.Measure}}"
    )
    measure_loading: bool = setting("load each variant in a fresh process to measure its loading time and peak memory")
    prompt_tokens: int | None = setting(
        "of a task that generates: prompt tokens of a timed response, from the test split, read at once; null times "
        "whole forward passes",
        at_least=1,
    )
    written_tokens: int | None = setting(
        "of a task that generates: tokens written in a timed response, by greedy decoding; the choice holds for this "
        "shape, prompt_tokens + written_tokens",
        at_least=1,
    )
    repeats: int = setting("timed samples per variant, runtime and batch size, interleaved in random order", at_least=3)
    max_repeats: int = setting("most samples of variants whose intervals overlap, at the batch size that decides")
    precision: float = setting("relative width of an interval below which no more samples are taken", above=0, below=1)
    sample_duration_s: float = setting(
        "minimum duration of a timed sample: short predictions are repeated to fill it; on a GPU at least 1",
        above=0,
        at_most=60,
    )
    threads: int = setting("CPU threads for every runtime", at_least=1)
    confidence: float = setting("confidence level of the intervals", at_least=0.5, below=1)

    @property
    def generates(self) -> bool:
        """Whether responses of a task that generates are timed as generated text."""
        return self.prompt_tokens is not None


@dataclass
class HibernateConfig:
    """The stage `hibernate`."""

    version: int = setting("raised when the stage's behaviour changes")
    canary_samples: int = setting("validation samples with recorded outputs, compared at every wake", at_least=1)
    canary_tolerance: float = setting(
        "largest allowed difference of an output, as a share of the largest recorded logit; a bundle with a "
        f"tolerance above {MAX_TOLERANCE} is refused",
        above=0,
        at_most=MAX_TOLERANCE,
    )
    wake_repeats: int = setting("wakes in fresh processes; the median duration is reported", at_least=1)
    sign_key: str | None = setting(
        "private key that signs the bundle: file:PATH, env:NAME or command:WORDS; null leaves it unsigned"
    )
    encryption_keys: list[str] = setting(
        "keys, any of which opens the encrypted bundle: file:PATH, env:NAME or command:WORDS; [] leaves it unencrypted"
    )
    publish: str | None = setting(
        "STORE#NAME@ALIAS to publish to before the gate judges it, such as s3://bucket/models#digits@candidate; null "
        "publishes nothing"
    )
    licence: str | None = setting("licence of the model, such as Apache-2.0")
    notes: str | None = setting("notes for users of the bundle")


def check_evaluate(config: Config) -> None:
    """Check the rules of the group `evaluate/` that ranges and choices cannot express.

    Raises:
        ConfigError: a required list is empty, or values do not fit together.
    """
    evaluate = config.evaluate
    _check_named("evaluate.runtimes", evaluate.runtimes)
    for runtime in evaluate.runtimes:
        RUNTIMES.check(runtime)
    _check_variants(evaluate, config.trusted_targets)
    _check_generation(evaluate, config)


def _check_variants(evaluate: EvaluateConfig, trusted: Sequence[str]) -> None:
    _check_named("evaluate.batch_sizes", evaluate.batch_sizes)
    if evaluate.choose_at_batch_size not in evaluate.batch_sizes:
        raise ConfigError(
            f"evaluate.choose_at_batch_size={evaluate.choose_at_batch_size} is not among "
            f"evaluate.batch_sizes={evaluate.batch_sizes}. Name one of them."
        )
    _check_measures(evaluate.measures, trusted)
    if evaluate.max_repeats < evaluate.repeats:
        raise ConfigError(f"evaluate.max_repeats={evaluate.max_repeats} must be at least {evaluate.repeats}.")


def _check_measures(measures: Mapping[str, Any], trusted: Sequence[str]) -> None:
    for name, node in measures.items():
        key = f"evaluate.measures.{name}"
        if not _NAME.fullmatch(str(name)):
            raise ConfigError(f"{key}: a measure's name is lower-case letters, digits and _. Rename it.")
        trusted_target(node if isinstance(node, Mapping) else {}, MEASURE, trusted=trusted, key=key)


def _check_generation(evaluate: EvaluateConfig, config: Config) -> None:
    if evaluate.prompt_tokens is None:
        return
    if evaluate.written_tokens is None:
        raise ConfigError("evaluate.prompt_tokens needs evaluate.written_tokens. Set it, such as 16.")
    length = config.data.get("length")
    if config.data.get("_target_") in TEXT_TARGETS and isinstance(length, int) and evaluate.prompt_tokens > length:
        raise ConfigError(
            f"evaluate.prompt_tokens={evaluate.prompt_tokens} is larger than the window, data.length={length}. "
            "Lower it, or raise data.length."
        )


def check_hibernate(config: Config) -> None:
    """Check the group `hibernate/`, beyond ranges.

    Raises:
        ConfigError: the form of a key or of the address to publish to is wrong.
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


def _check_named(key: str, values: Sequence[Any]) -> None:
    if not values:
        raise ConfigError(f"{key} is empty. Name at least one.")
    if len(set(values)) < len(values):
        raise ConfigError(f"{key}={list(values)} has a duplicate. Name each once.")
