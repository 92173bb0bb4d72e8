"""A causal language model of the transformers library as a plain module: tokens in, logits out.

It is built from its configuration alone, so a saved model needs neither its original folder nor third-party code.
https://huggingface.co/docs/transformers
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.models.transformers_library import built

_TRIED = 4  # tokens
_CLOSE = 1e-3  # of the logits' range: what another order of summing makes of it


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

    @property
    def context_tokens(self) -> int | None:
        """Longest text that the configuration says the model was made for; None if it says none."""
        declared = self.config.get("max_position_embeddings", self.config.get("n_positions"))
        return declared if type(declared) is int else None

    def declare_sizes(self) -> bool:
        """Name the heads and hidden units that the layers have now in the configuration, if it can.

        Returns:
            whether a model of that configuration has the very shapes of this one; else it stays as it was.
        """
        config = self.config | self._counted()
        with torch.device("meta"):
            rebuilt = CausalLanguageModel(config=config, random_weights=False)
        found, wanted = ({name: each.shape for name, each in one.state_dict().items()} for one in (rebuilt, self))
        if found != wanted:
            return False
        self.config = config
        for key, value in self._counted().items():
            setattr(self.network.config, key, value)
        return True

    def _counted(self) -> dict[str, int]:
        """Return the sizes of the first block's layers, by the keys of most configurations."""
        layers = {name.rpartition(".")[2]: each for name, each in reversed([*self.network.named_modules()])}
        attention = next(
            (each for each in self.network.modules() if isinstance(getattr(each, "head_dim", None), int)), None
        )
        sizes = {"head_dim": int(attention.head_dim)} if attention is not None else {}
        for key, layer in (("num_attention_heads", "q_proj"), ("num_key_value_heads", "k_proj")):
            if sizes and isinstance(layers.get(layer), nn.Linear):
                sizes[key] = layers[layer].out_features // sizes["head_dim"]
        for layer in ("up_proj", "fc1"):
            if isinstance(layers.get(layer), nn.Linear):
                key = "ffn_dim" if hasattr(self.network.config, "ffn_dim") else "intermediate_size"
                sizes[key] = layers[layer].out_features
        if "c_fc" in layers:
            sizes["n_inner"] = layers["c_fc"].nf
        return sizes

    def saved_as(self) -> dict[str, Any]:
        """Return the ``model_config`` for `save_model`, with which it loads on any machine."""
        return {
            "_target_": "overwinter.models.CausalLanguageModel",
            "config": self.config,
            "random_weights": False,
            "origin": self.origin,
        }


def check_step_by_step(model: CausalLanguageModel, path: Path) -> None:
    """Check on a few tokens that a model predicts each from those before it, and writes with a cache.

    Args:
        model: in evaluation mode, with its weights.
        path: where it comes from, for the message.

    Raises:
        ConfigError: an earlier token's prediction depends on a later one, as in BERT; or the model keeps no cache of
            keys and values from one step to the next, as Mamba.
    """
    kind, tokens = type(model.network).__name__, torch.arange(_TRIED)[None] % int(model.network.config.vocab_size)
    with torch.inference_mode():
        whole = model(tokens)[0]  # (tried, vocabulary)
        if not _is_close(model(tokens[:, :-1])[0], whole[:-1]):
            raise ConfigError(
                f"{path} holds a {kind} in which a token is predicted from later ones too, so it is no causal language "
                "model (its configuration may say is_decoder: false). Set model.head=embedding, or name a decoder."
            )
        try:
            _, kept = model.step(tokens[:, :-1])
            last, _ = model.step(tokens[:, -1:], kept)
        except (AttributeError, TypeError) as error:
            raise _without_cache(path, kind, str(error)) from None
    if kept is None or not _is_close(last[0], whole[-1]):
        raise _without_cache(path, kind, "token by token it predicts other than at once")


def _is_close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return float((found - wanted).abs().max()) <= _CLOSE * max(1.0, float(wanted.abs().max()))


def _without_cache(path: Path, kind: str, why: str) -> ConfigError:
    return ConfigError(
        f"{path} holds a {kind}, which keeps no cache of keys and values that a text can be written with, token by "
        f"token ({why}). Name a model with attention, such as a Llama, Qwen, Mistral, Gemma or Phi."
    )
