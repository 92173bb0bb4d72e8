"""The groups `evaluate/` and `hibernate/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING


@dataclass
class EvaluateConfig:
    """The stage `evaluate`.

    Attributes:
        version: as in every stage.
        runtimes: which runtimes take part, among `torch`, `torch-compile`, `onnxruntime`, `openvino`.
        batch_sizes: each form is timed at each of them.
        choose_at_batch_size: the form with the fewest joules per answer at this batch size is chosen.
        max_quality_loss: how much of the dense model's accuracy a form may lose and still be chosen (0.01: one
            point).
        max_losses: the same for other measures of quality, by their names in comparison.json.
        corruptions: accuracy is also measured on inputs spoilt in these ways: `noise`, `contrast`, `blur`, `missing`.
        measures: your own measures of quality by name; `_target_` makes a callable, the other keys are its arguments.
        measure_loading: whether each form is also loaded in a fresh process, for its time to load and peak memory.
        repeats: timed samples per form, runtime and batch size, interleaved in random order.
        most_repeats: how many of those whose intervals overlap at the batch size that decides.
        precision: width of an interval, as a share of the figure, at which such a form gets no more.
        sample_duration_s: least length of one timed sample; short answers are repeated to fill it. On a GPU it is at
            least ten steps of the counter, 1 s.
        threads: CPU threads of every runtime.
        confidence: of the intervals, for instance 0.95.
    """

    version: int = MISSING
    runtimes: list[str] = MISSING
    batch_sizes: list[int] = MISSING
    choose_at_batch_size: int = MISSING
    max_quality_loss: float = MISSING
    max_losses: dict[str, float] = MISSING
    corruptions: list[str] = MISSING
    measures: dict[str, Any] = MISSING
    measure_loading: bool = MISSING
    repeats: int = MISSING
    most_repeats: int = MISSING
    precision: float = MISSING
    sample_duration_s: float = MISSING
    threads: int = MISSING
    confidence: float = MISSING


@dataclass
class LanguageEvaluateConfig:
    """The stage `evaluate` of a language model. An answer is a prompt that is read, and tokens that are written.

    Attributes:
        version: as in every stage.
        runtimes: which runtimes take part, among `torch` (float32) and `torch-bf16`.
        max_perplexity_increase: how much higher than the dense model's a form's perplexity may be (0.02: 2 %).
        prompt_tokens: of a timed answer: read at once (prefill).
        answer_tokens: of a timed answer: written one after the other (decode).
        repeats: timed samples per form and phase, interleaved in random order.
        sample_duration_s: least length of one timed sample; on a GPU at least 1 s.
        threads: CPU threads.
        confidence: of the intervals, for instance 0.95.
    """

    version: int = MISSING
    runtimes: list[str] = MISSING
    max_perplexity_increase: float = MISSING
    prompt_tokens: int = MISSING
    answer_tokens: int = MISSING
    repeats: int = MISSING
    sample_duration_s: float = MISSING
    threads: int = MISSING
    confidence: float = MISSING


@dataclass
class HibernateConfig:
    """The stage `hibernate`.

    Attributes:
        version: as in every stage.
        canary_samples: validation samples whose answers are recorded and asked for at every wake.
        canary_tolerance: largest allowed difference of a woken answer, relative to the largest recorded
            logit; above 0, at most 0.1.
        wake_repeats: wakes in fresh processes whose median duration is reported.
        sign_key: where the private key is that signs the bundle (`file:PATH`, `env:NAME` or `command:WORDS`); null
            leaves it unsigned.
        encryption_keys: where the keys are that will open the bundle, in the same way; none leaves it in the clear.
        publish: STORE#NAME@ALIAS; null publishes nothing.
        licence: under which others may use the model; null says nothing.
        notes: for whoever finds the bundle.
    """

    version: int = MISSING
    canary_samples: int = MISSING
    canary_tolerance: float = MISSING
    wake_repeats: int = MISSING
    sign_key: str | None = MISSING
    encryption_keys: list[str] = MISSING
    publish: str | None = MISSING
    licence: str | None = MISSING
    notes: str | None = MISSING
