"""A causal language model of the transformers library as a plain module: tokens in, logits out.

It is built from its configuration alone, so a saved model needs neither its original folder nor third-party code.
https://huggingface.co/docs/transformers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overwinter.models.transformers_library import built


class CausalLanguageModel(nn.Module):
    """Next-token logits at every position.

    A tied head stays tied: one parameter under two names, stored once.

    Args:
        config: configuration of the transformers library, as JSON, with ``model_type``.
        random_weights: whether to draw initial weights; not needed before loading weights.
        origin: origin of the weights if they are not the model's own, such as ``dequantized Q4_1``; else None.

    Attributes:
        config: as given.
        origin: as given.
        network: the transformers module; ``network.config`` is its configuration.

    Raises:
        ConfigError: the extra `llm` is missing, or the installed transformers has no causal language model for the
            configuration.
    """

    def __init__(self, *, config: Mapping[str, Any], random_weights: bool = True, origin: str | None = None) -> None:
        super().__init__()
        self.origin = origin
        self.config = dict(config)
        self.network = built(
            "AutoModelForCausalLM", self.config, what="causal language model", random_weights=random_weights
        )
        self.network.tie_weights()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, length, vocabulary), float32, of tokens (batch, length), int64."""
        logits: torch.Tensor = self.network(input_ids=tokens, use_cache=False).logits
        return logits.float()

    def step(self, tokens: torch.Tensor, kept: Any = None) -> tuple[torch.Tensor, Any]:
        """Read tokens (batch, n) after those whose keys and values are in ``kept``.

        Returns:
            Logits of the next token (batch, vocabulary), float32, and transformers' cache, which extends ``kept``.
        """
        output = self.network(input_ids=tokens, past_key_values=kept, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float(), output.past_key_values

    def saved_as(self) -> dict[str, Any]:
        """Return the ``model_config`` for `save_model`, with which it loads on any machine."""
        return {
            "_target_": "overwinter.models.CausalLanguageModel",
            "config": self.config,
            "random_weights": False,
            "origin": self.origin,
        }
