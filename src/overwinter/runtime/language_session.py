"""A language model in a bundle: tokens in, logits of the next token out, one step at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from overwinter.errors import ConfigError
from overwinter.inputs import Inputs, named
from overwinter.models import CausalLanguageModel
from overwinter.runtime import load_module
from overwinter.runtime.session import Array

_CANARY_TOKENS = 16  # enough to exercise every layer, few enough not to delay a wake


def canary_tokens(windows: torch.Tensor) -> torch.Tensor:
    """Return the first tokens of each window (windows, length), int64, as the canary of every wake."""
    return windows[:, :_CANARY_TOKENS].contiguous()


class LanguageSession:
    """A `Session` whose inputs are tokens.

    Args:
        model: model in evaluation mode, on any device; tokens and logits are on the host.
    """

    def __init__(self, model: CausalLanguageModel) -> None:
        self._model, self._device = model, next(model.parameters()).device

    @property
    def context_tokens(self) -> int:
        """Context length in tokens; unlimited if the configuration has none."""
        config = self._model.config
        declared = config.get("max_position_embeddings", config.get("n_positions"))
        return declared if type(declared) is int else sys.maxsize

    def run(self, inputs: Inputs) -> Array:
        """Return logits of the next token (batch, vocabulary), float32, after tokens (batch, length), int64."""
        (tokens,) = named(inputs).values()
        return self.step(tokens)[0]

    def step(self, tokens: Array, kept: Any = None) -> tuple[Array, Any]:
        """Read tokens (batch, n) after those whose keys and values are in ``kept``.

        Returns:
            Logits of the next token (batch, vocabulary), float32, and ``kept``, extended in place.
        """
        with torch.inference_mode():
            logits, kept = self._model.step(torch.from_numpy(tokens).to(self._device), kept)
        return logits.cpu().numpy(), kept


def open_language(
    folder: Path, runtime: str, threads: int, *, trusted: Sequence[str] = (), device: str = "cpu"
) -> LanguageSession:
    """Load the files that `overwinter.runtime.build` wrote for a language model.

    Args:
        folder: the payload.
        runtime: name of the runtime that it was built for.
        threads: The number of CPU threads that compute one output, for the whole process.
        trusted: packages whose classes the model's ``_target_`` may name.
        device: device that computes.

    Raises:
        ConfigError: the runtime cannot run language models, or not on the device, or the payload has no language model.
        IntegrityError: the files are damaged.
    """
    torch.set_num_threads(threads)
    model = load_module(folder, runtime, trusted=trusted, device=device)
    if not isinstance(model, CausalLanguageModel):
        raise ConfigError(f"{folder} holds a tokenizer and a {type(model).__name__}, which is not a language model.")
    return LanguageSession(model)
