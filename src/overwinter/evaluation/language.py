"""Evaluation of language models: next-token scores on a text, and the cost of generated tokens.

A response is a prompt read at once (prefill) and tokens generated one by one (decode) with a cache of keys and values,
by greedy decoding. The two phases are timed separately: the first is bound by arithmetic, the second by memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.config.groups import LanguageEvaluateConfig
from overwinter.energy import EnergyMeter
from overwinter.errors import OverwinterError
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.gpu_joules import joules_of
from overwinter.evaluation.text import TextCost, TextScores, dense_among
from overwinter.evaluation.timing import Sample, TimingPlan, measure_speed
from overwinter.models import CausalLanguageModel
from overwinter.progress import Progress
from overwinter.runtime import Array, Session

_PREFILL, _DECODE = "prefill", "decode"


def score_text(
    models: Mapping[str, nn.Module], tokens: torch.Tensor, following: torch.Tensor, progress: Progress
) -> dict[str, TextScores]:
    """Score every variant on the same windows.

    Args:
        models: variant, or variant@runtime -> module from tokens (batch, length) to logits (batch, length,
            vocabulary), all on one device. The first dense one is the reference.
        tokens: (windows, length), int64.
        following: (windows, length), the token after each of ``tokens``.
        progress: called with the windows done and the total.

    Raises:
        OverwinterError: an output is NaN or infinite, or there is no dense variant.
    """
    reference = dense_among(list(models))
    device = _device_of(models[reference])
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in models}
    with torch.inference_mode():
        for done, (window, wanted) in enumerate(zip(tokens.to(device), following.to(device), strict=True), 1):
            dense = _log_probabilities(reference, models[reference], window)
            for name, model in models.items():
                log_probabilities = dense if name == reference else _log_probabilities(name, model, window)
                rows[name].append(_scores(log_probabilities, dense, wanted))
            progress(done, len(tokens))
    return {name: TextScores.from_rows(each) for name, each in rows.items()}


def compare_predictions(
    models: Mapping[str, CausalLanguageModel],
    prompt: torch.Tensor,
    settings: LanguageEvaluateConfig,
    *,
    meter: EnergyMeter,
    seed: int,
    progress: Progress,
    device: str = "cpu",
) -> dict[str, TextCost]:
    """Time both phases of all models on the same prompt, interleaved, with ``settings.threads`` torch threads.

    Args:
        models: variant@runtime -> model.
        prompt: (1, prompt tokens), int64.
        settings: the group `evaluate`.
        meter: the stage's meter.
        seed: seed of the order and the bootstrap.
        progress: called with the samples done and the total.
        device: device of the models.

    Raises:
        ConfigError: no meter covers the CPU or the device.
    """
    torch.set_num_threads(settings.threads)
    sessions: dict[str, Session] = {f"{name}/{_PREFILL}": _Prefill(model) for name, model in models.items()}
    for name, model in models.items():
        sessions[f"{name}/{_DECODE}"] = _Decode(model, prompt, settings.response_tokens)
    plan = TimingPlan(
        batch_sizes=[1], repeats=settings.repeats, sample_duration_s=settings.sample_duration_s, seed=seed
    )
    joules = joules_of(meter, device)
    samples = measure_speed(sessions, prompt.numpy(), plan, joules, progress)
    rates = joules.rates(settings.threads)

    def per_token(key: str, tokens: int) -> Figures:
        taken: list[Sample] = [replace(each, responses=each.responses * tokens) for each in samples[key, 1]]
        return summarize(taken, rates=rates, confidence=settings.confidence, seed=seed)

    return {
        name: TextCost(
            prompt_tokens=prompt.shape[1],
            response_tokens=settings.response_tokens,
            prefill=per_token(f"{name}/{_PREFILL}", prompt.shape[1]),
            decode=per_token(f"{name}/{_DECODE}", settings.response_tokens),
        )
        for name in models
    }


class _Prefill:
    """A `Session` that reads the prompt and returns the first token's logits."""

    def __init__(self, model: CausalLanguageModel) -> None:
        self._model, self._device = model, _device_of(model)

    def run(self, inputs: Any) -> Array:
        """Return logits (1, vocabulary) after the prompt (1, tokens), both on the host."""
        with torch.inference_mode():
            logits: Array = self._model.step(torch.from_numpy(inputs).to(self._device))[0].cpu().numpy()
        return logits


class _Decode:
    """A `Session` that generates tokens after a prompt that it has already read."""

    def __init__(self, model: CausalLanguageModel, prompt: torch.Tensor, count: int) -> None:
        self._model, self._count = model, count
        with torch.inference_mode():
            logits, self._kept = model.step(prompt.to(_device_of(model)))
        self._first = logits.argmax(-1, keepdim=True)  # (1, 1)

    def run(self, inputs: Any) -> Array:  # noqa: ARG002 -- the prompt, which __init__ has read
        """Return the generated tokens (1, count), and remove them from the cache."""
        token, generated = self._first, []
        with torch.inference_mode():
            for _ in range(self._count):
                logits, self._kept = self._model.step(token, self._kept)
                token = logits.argmax(-1, keepdim=True)
                generated.append(token)
            self._kept.crop(-self._count)
            tokens: Array = torch.cat(generated, dim=1).cpu().numpy()
        return tokens


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _log_probabilities(name: str, model: nn.Module, window: torch.Tensor) -> torch.Tensor:
    """Return the log-probabilities of every next token, (length, vocabulary)."""
    log_probabilities: Any = functional.log_softmax(model(window[None])[0], dim=-1)
    if not bool(torch.isfinite(log_probabilities).all()):
        raise OverwinterError(f"The variant {name!r} outputs NaN or infinity for the test text. Leave it out.")
    tensor: torch.Tensor = log_probabilities
    return tensor


def _scores(log_probabilities: torch.Tensor, dense: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float, float]:
    """Return the mean loss and the mean KL divergence from dense, in nats, and the share of equal top tokens."""
    loss = functional.nll_loss(log_probabilities, wanted).item()
    divergence = functional.kl_div(log_probabilities, dense, log_target=True, reduction="batchmean").item()
    agreement = (log_probabilities.argmax(-1) == dense.argmax(-1)).float().mean().item()
    return loss, divergence, agreement
