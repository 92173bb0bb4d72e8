"""Cost of generated text: a response is a prompt read at once (prefill) and tokens generated one by one (decode).

Decoding is greedy, with a cache of keys and values. The two phases are timed separately: the first is bound by
arithmetic, the second by memory.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import nn

from overwinter.config.groups import EvaluateConfig
from overwinter.data import Split
from overwinter.energy import EnergyMeter
from overwinter.errors import ConfigError
from overwinter.evaluation.figures import Figures, summarize
from overwinter.evaluation.generation_cost import GenerationCost
from overwinter.evaluation.gpu_joules import joules_of
from overwinter.evaluation.timing import Sample, TimingPlan, measure_speed
from overwinter.inputs import Array, Inputs, each, named
from overwinter.models import CausalLanguageModel
from overwinter.progress import Progress
from overwinter.runtime import Session

_PREFILL, _DECODE = "prefill", "decode"
# transformers' cache of a layer that keeps every token; a sliding window or a recurrent state cannot go back.
_WHOLE = "DynamicLayer"


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
    models: Mapping[str, CausalLanguageModel],
    prompt: torch.Tensor,
    settings: EvaluateConfig,
    *,
    meter: EnergyMeter,
    seed: int,
    progress: Progress,
    device: str = "cpu",
) -> dict[str, GenerationCost]:
    """Time both phases of all models on the same prompt, interleaved, with ``settings.threads`` torch threads.

    Args:
        models: variant@runtime -> model.
        prompt: (1, prompt tokens), int64.
        settings: the group `evaluate`, with `response_tokens`.
        meter: the stage's meter.
        seed: seed of the order and the bootstrap.
        progress: called with the samples done and the total.
        device: device of the models.

    Raises:
        ConfigError: no meter covers the CPU or the device.
    """
    torch.set_num_threads(settings.threads)
    tokens = settings.response_tokens or 1
    sessions: dict[str, Session] = {f"{name}/{_PREFILL}": _Prefill(model) for name, model in models.items()}
    for name, model in models.items():
        sessions[f"{name}/{_DECODE}"] = _Decode(model, prompt, tokens)
    plan = TimingPlan(repeats=settings.repeats, sample_duration_s=settings.sample_duration_s, seed=seed)
    joules = joules_of(meter, device)
    samples = measure_speed(sessions, {1: [prompt.numpy()]}, plan, joules, progress)
    rates = joules.rates(settings.threads)

    def per_token(key: str, count: int) -> Figures:
        taken: list[Sample] = [replace(sample, responses=sample.responses * count) for sample in samples[key, 1]]
        return summarize(taken, rates=rates, confidence=settings.confidence, seed=seed)

    return {
        name: GenerationCost(
            prompt_tokens=prompt.shape[1],
            response_tokens=tokens,
            prefill=per_token(f"{name}/{_PREFILL}", prompt.shape[1]),
            decode=per_token(f"{name}/{_DECODE}", tokens),
        )
        for name in models
    }


class ModuleSession:
    """A `Session` on a module that is already loaded, which generates as well.

    Args:
        model: module in evaluation mode, on any device; inputs and outputs are on the host.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._device = model, _device_of(model)

    def run(self, inputs: Inputs) -> Array:
        """Return the outputs (n, ...), float32."""
        with torch.inference_mode():
            outputs: Array = self._model(self._tensors(inputs)).float().cpu().numpy()
        return outputs

    def _tensors(self, inputs: Inputs) -> object:
        return each(lambda value: torch.from_numpy(value).to(self._device), inputs)


class _Prefill:
    """A `Session` that reads the prompt and returns the first token's logits."""

    def __init__(self, model: CausalLanguageModel) -> None:
        self._model, self._device = model, _device_of(model)

    def run(self, inputs: Inputs) -> Array:
        """Return logits (1, vocabulary) after the prompt (1, tokens), both on the host."""
        prompt = torch.from_numpy(cast(Array, inputs)).to(self._device)
        with torch.inference_mode():
            logits: Array = self._model.step(prompt)[0].cpu().numpy()
        return logits


class _Decode:
    """A `Session` that generates tokens after a prompt that it has already read."""

    def __init__(self, model: CausalLanguageModel, prompt: torch.Tensor, count: int) -> None:
        self._model, self._count = model, count
        with torch.inference_mode():
            logits, self._kept = model.step(prompt.to(_device_of(model)))
        layers = getattr(self._kept, "layers", ())
        self._crops = all(type(layer).__name__ == _WHOLE for layer in layers)
        self._first = logits.argmax(-1, keepdim=True)  # (1, 1)

    def run(self, inputs: Inputs) -> Array:  # noqa: ARG002 -- the prompt, which __init__ has read
        """Return the generated tokens (1, count), and leave the cache as it was after the prompt."""
        token, generated = self._first, []
        kept = self._kept if self._crops else copy.deepcopy(self._kept)
        with torch.inference_mode():
            for _ in range(self._count):
                logits, kept = self._model.step(token, kept)
                token = logits.argmax(-1, keepdim=True)
                generated.append(token)
            if self._crops:
                kept.crop(-self._count)
            tokens: Array = torch.cat(generated, dim=1).cpu().numpy()
        return tokens


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
