"""Language models of many families, of random weights and a few blocks, as the transformers library builds them."""

from typing import Any

import torch

from overwinter.models import CausalLanguageModel

_SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = _SIZES | {"num_key_value_heads": 2}
_GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "bos_token_id": 1}
_WINDOWED = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}

DECODERS: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": _GROUPED | {"head_dim": 8},
    "mistral": _GROUPED | {"sliding_window": 8, "head_dim": 8},
    "gemma2": _GROUPED | _WINDOWED | {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": _GROUPED | _WINDOWED | {"head_dim": 8, "query_pre_attn_scalar": 8},
    "cohere2": _GROUPED | _WINDOWED,
    "gpt_oss": _GROUPED | _WINDOWED | {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    "phi": _SIZES,
    "phi3": _GROUPED | {"original_max_position_embeddings": 64},
    "opt": _SIZES | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt2": _GPT2,
    "falcon": _SIZES,
    "mixtral": _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "mamba": _SIZES | {"state_size": 8, "expand": 2},
    "jamba": _GROUPED | {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False, "num_experts": 2},
}
"""Type of the model -> its configuration. Blocks with a sliding window have one shorter than `tokens`."""


def decoder(family: str, **changes: Any) -> CausalLanguageModel:
    """Return a language model of random weights."""
    torch.manual_seed(0)
    return CausalLanguageModel(config={"model_type": family, **DECODERS[family], **changes}).eval()


def tokens(count: int = 3, length: int = 24) -> torch.Tensor:
    """Return (count, length) tokens."""
    return torch.randint(3, 64, (count, length), generator=torch.Generator().manual_seed(count + length))
