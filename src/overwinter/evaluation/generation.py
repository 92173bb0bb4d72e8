"""Cost of generated text: a response is a prompt read at once (prefill) and tokens generated one by one (decode).

Decoding is greedy, with a cache of keys and values. The two phases are timed separately: the first is bound by
arithmetic, the second by memory.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from overwinter.config.groups import EvaluateConfig
from overwinter.data import Split
from overwinter.energy import EnergyMeter
from overwinter.errors import ConfigError
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.generation_cost import GenerationCost
from overwinter.evaluation.gpu_joules import joules_of
from overwinter.evaluation.timing import Sample, TimingPlan, measure_speed
from overwinter.inputs import Array, Inputs, named
from overwinter.progress import Progress
from overwinter.runtime import LanguageSession, Session

_PREFILL, _DECODE = "prefill", "decode"


def draw_prompt(split: Split, tokens: int) -> torch.Tensor:
    """Return the start of a split's first sample as a prompt (1, tokens), int64.

    Raises:
        ConfigError: the sample is shorter, or holds no tokens.
    """
    inputs = named(split.first(1)[0])
    window = next((value for value in inputs.values() if value.dtype == torch.int64 and value.dim() == 2), None)
    if window is None:
        raise ConfigError(
            f"The inputs {', '.join(inputs)} hold no tokens (n, length), so no text can be generated from them. "
            "Set evaluate.prompt_tokens=null, which times whole forward passes."
        )
    if window.shape[1] < tokens:
        raise ConfigError(
            f"evaluate.prompt_tokens={tokens} is larger than the window, data.length={window.shape[1]}. "
            "Lower it, or raise data.length."
        )
    return cast(torch.Tensor, window[:, :tokens])


def compare_generation(
    sessions: Mapping[str, LanguageSession],
    prompt: torch.Tensor,
    settings: EvaluateConfig,
    *,
    meter: EnergyMeter,
    seed: int,
    progress: Progress,
    device: str = "cpu",
) -> dict[str, GenerationCost]:
    """Time both phases of all sessions on the same prompt, interleaved.

    Args:
        sessions: variant@runtime -> session, with ``settings.threads`` threads.
        prompt: (1, prompt tokens), int64.
        settings: the group `evaluate`, with `written_tokens`.
        meter: the stage's meter.
        seed: seed of the order and the bootstrap.
        progress: called with the samples done and the total.
        device: device of the sessions.

    Raises:
        ConfigError: no meter covers the CPU or the device.
    """
    tokens = settings.written_tokens or 1
    phases: dict[str, Session] = {}
    for name, session in sessions.items():
        prefill = _Prefill(session)
        phases |= {f"{name}/{_PREFILL}": prefill, f"{name}/{_DECODE}": _Decode(prefill, tokens)}
    plan = TimingPlan(repeats=settings.repeats, sample_duration_s=settings.sample_duration_s, seed=seed)
    joules = joules_of(meter, device)
    samples = measure_speed(phases, {1: [prompt.numpy()]}, plan, joules, progress)
    rates = joules.rates(settings.threads)

    def per_token(key: str, count: int) -> Figures:
        taken: list[Sample] = [replace(sample, responses=sample.responses * count) for sample in samples[key, 1]]
        return summarize(taken, rates=rates, confidence=settings.confidence, seed=seed)

    return {
        name: GenerationCost(
            prompt_tokens=prompt.shape[1],
            written_tokens=tokens,
            prefill=per_token(f"{name}/{_PREFILL}", prompt.shape[1]),
            decode=per_token(f"{name}/{_DECODE}", tokens),
        )
        for name in sessions
    }


class EveryPosition:
    """A `Session` that returns a language model's logits at every position, as tasks judge them."""

    def __init__(self, session: LanguageSession) -> None:
        self._session = session

    def run(self, inputs: Inputs) -> Array:
        """Return logits (n, length, vocabulary), float32, of tokens (n, length)."""
        (tokens,) = named(inputs).values()
        return self._session.logits(tokens)


class _Prefill:
    """A `Session` that reads the prompt and returns the first token's logits.

    Attributes:
        kept: the cache after the prompt; None before the first run.
        first: the first token (1, 1).
    """

    def __init__(self, session: LanguageSession) -> None:
        self.session = session
        self.kept: Any = None
        self.first: Array = np.zeros((1, 1), dtype=np.int64)

    def run(self, inputs: Inputs) -> Array:
        """Return logits (1, vocabulary) after the prompt (1, tokens)."""
        logits, self.kept = self.session.step(cast(Array, inputs))
        self.first = logits.argmax(-1)[:, None]
        return logits


class _Decode:
    """A `Session` that generates tokens after the prompt that `_Prefill` has read: the two share one cache."""

    def __init__(self, prefill: _Prefill, count: int) -> None:
        self._prefill, self._count = prefill, count

    def run(self, inputs: Inputs) -> Array:
        """Return the generated tokens (1, count), and leave the cache as it was after the prompt."""
        if self._prefill.kept is None:
            self._prefill.run(inputs)
        crops = self._prefill.kept.can_crop
        kept = self._prefill.kept if crops else copy.deepcopy(self._prefill.kept)
        token, generated = self._prefill.first, []
        for _ in range(self._count):
            logits, kept = self._prefill.session.step(token, kept)
            token = logits.argmax(-1)[:, None]
            generated.append(token)
        if crops:
            kept.crop(self._count)
            self._prefill.kept = kept
        return np.concatenate(generated, axis=1)
