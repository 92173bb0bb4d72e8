"""A causal language model of the transformers library as a plain module: tokens in, logits out.

It is built from its configuration alone, so a saved model needs neither its original folder nor third-party code.
https://huggingface.co/docs/transformers
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError

# Keys of a transformers configuration that name code of the model's authors or a quantization library.
_CODE = ("auto_map", "custom_pipelines", "quantization_config", "use_kernels")


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
        self.network = _built(self.config, random_weights=random_weights)
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


def import_transformers() -> ModuleType:
    """Import the transformers library without its log messages.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        with quiet():
            import transformers
            import transformers.modeling_utils  # logs on import; otherwise imported with the first model
    except ImportError as error:
        raise ConfigError(
            f"Language models need the transformers library: {error}.\n`pip install 'overwinter[llm]'`"
        ) from None
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence log messages below errors, which concern other GPUs and remote models."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _harmless(config: Any) -> Any:
    """Return the configuration without keys that make the library fetch and run third-party code."""
    if isinstance(config, list | tuple):
        return [_harmless(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    return {key: _harmless(value) for key, value in config.items() if not _names_code(str(key))}


def _names_code(key: str) -> bool:
    return key in _CODE or key.startswith("_") or key.endswith("_implementation")


def _built(config: Mapping[str, Any], *, random_weights: bool) -> Any:
    transformers = import_transformers()
    from transformers.initialization import no_init_weights

    skipping = contextlib.nullcontext() if random_weights else no_init_weights()
    rest = {key: value for key, value in _harmless(config).items() if key != "model_type"}
    try:
        with quiet(), skipping:
            parsed = transformers.AutoConfig.for_model(str(config.get("model_type")), **rest)
            return transformers.AutoModelForCausalLM.from_config(parsed, dtype=torch.float32, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"transformers {transformers.__version__} has no causal language model of the type "
            f"{config.get('model_type')!r}: {str(error).strip().splitlines()[0]}\n"
            "Name a decoder-only model, or install a version of transformers that supports it."
        ) from None
