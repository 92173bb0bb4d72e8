"""Calibration text that the dense model writes itself, for when the user has none, or only of one domain.

Sampled from the model's own distribution after a random first token (LLM-QAT, https://arxiv.org/abs/2305.17888).
"""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import nn

from overwinter.calibration.precision import is_quick
from overwinter.errors import ConfigError
from overwinter.models import twin
from overwinter.progress import Progress, part, silent

_PIECE = 256  # tokens written in one go: the cache of keys and values slows with its length
_TOGETHER = 64  # pieces written side by side


@runtime_checkable
class Writer(Protocol):
    """A language model that can go on from what it has read, such as `overwinter.models.CausalLanguageModel`."""

    def step(self, tokens: torch.Tensor, kept: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the next token's logits (batch, vocabulary) after tokens (batch, n), and the cache, grown."""


def generate_text(
    model: object,
    windows: int,
    length: int,
    *,
    seed: int,
    progress: Progress = silent,
    device: str = "cpu",
) -> torch.Tensor:
    """Return (windows, length) tokens, int64; a window is joined from pieces of at most 256 tokens.

    Args:
        model: in evaluation mode.
        windows: how many.
        length: tokens of each.
        seed: equal seeds give equal text on equal machines.
        progress: called after each token of a batch, with how far it has come, and with all of it.
        device: that computes: `cpu`, `cuda` or `cuda:N`; its memory holds the whole model.

    Raises:
        ConfigError: the model is no language model.
    """
    if not isinstance(model, Writer):
        raise ConfigError(
            f"{type(model).__name__} is no language model, so it cannot write its own calibration text. "
            "Set quantize.calibration_text=data."
        )
    randomness = torch.Generator().manual_seed(seed)
    pieces = -(-length // _PIECE)
    size = -(-length // pieces)
    batches = torch.split(torch.arange(windows * pieces), _TOGETHER)
    writer, written = _quick_writer(model, torch.device(device)), []
    for done, batch in enumerate(batches):
        mine = part(progress, done / len(batches), (done + 1) / len(batches))
        written.append(_written(writer, len(batch), size, randomness, device, mine))
    return torch.cat(written).reshape(windows, pieces * size)[:, :length].clone()


def _quick_writer(model: Writer, device: torch.device) -> Writer:
    """The model on a device, in bfloat16 where that is quick: what it writes need not be its own to the last bit."""
    if not isinstance(model, nn.Module) or (device.type == "cpu" and not is_quick(device)):
        return model
    return cast(Writer, twin(model).to(device, torch.bfloat16 if is_quick(device) else None))


@torch.inference_mode()
def _written(
    model: Writer, count: int, length: int, randomness: torch.Generator, device: str, progress: Progress
) -> torch.Tensor:
    logits, _ = model.step(torch.zeros(1, 1, dtype=torch.int64, device=device))
    tokens = [torch.randint(0, logits.shape[1], (count, 1), generator=randomness)]
    kept = None
    for _ in range(length - 1):
        logits, kept = model.step(tokens[-1].to(device), kept)
        tokens.append(_drawn(torch.softmax(logits.float().cpu(), 1), randomness))
        progress(len(tokens), length)
    return torch.cat(tokens, 1)  # (count, length)


def _drawn(odds: torch.Tensor, randomness: torch.Generator) -> torch.Tensor:
    """One token of each row of (count, vocabulary), (count, 1)."""
    # One random number a row: torch.multinomial draws one for every word, and took a third of the time.
    up_to = odds.cumsum(1)
    chance = torch.rand(len(odds), 1, generator=randomness) * up_to[:, -1:]
    return torch.searchsorted(up_to, chance, right=True).clamp(max=odds.shape[1] - 1)
