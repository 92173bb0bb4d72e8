"""Families of language models in llama.cpp's terms: hyperparameters, and how it orders and shifts weights.

After llama.cpp's convert_hf_to_gguf.py (https://github.com/ggml-org/llama.cpp), for the families that are checked here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from overwinter.inputs import Array

# transformers' model_type -> llama.cpp's general.architecture
FAMILIES = {
    "gemma3_text": "gemma3",
    "llama": "llama",
    "mistral": "llama",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
}
_EXTRA = "pip install 'overwinter[llm]'"
_WINDOWED = ("gemma3_text", "phi3")  # llama.cpp keeps their sliding windows
_GEMMA_PERIOD = 6  # every sixth block sees all tokens: fixed in llama.cpp


def gguf_refusal(description: Mapping[str, Any]) -> str | None:
    """Return why the saved language model that ``model.json`` describes cannot be written as GGUF, or None."""
    import importlib.util

    config = description["model"].get("config")
    if not isinstance(config, Mapping):
        return "it is no language model of the transformers library"
    if importlib.util.find_spec("gguf") is None:
        return f"the package gguf is missing: {_EXTRA}"
    return family_refusal(config)


def family_refusal(config: Mapping[str, Any]) -> str | None:
    """Return why llama.cpp's format cannot hold models of a configuration, or None."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        return f"the family {family!r} is not among {', '.join(sorted(FAMILIES))}"
    scaled = [name for name, kind in _rope_types(config).items() if kind not in ("default", "linear")]
    if scaled:
        return f"its rotary embedding is scaled ({scaled[0]}), which is not written"
    window, layers = _window(config), config.get("layer_types")
    if window is not None and family not in _WINDOWED:
        return f"blocks of the family {family!r} have no sliding window (of {window} tokens) in llama.cpp"
    if family == "gemma3_text" and layers is not None and list(layers) != _gemma_layers(len(layers)):
        return f"llama.cpp expects that every {_GEMMA_PERIOD}th block sees all tokens"
    if config.get("query_pre_attn_scalar", config.get("head_dim")) != config.get("head_dim"):
        return "llama.cpp scales attention by the heads' width, and query_pre_attn_scalar is another"
    return None


def add_hyperparameters(writer: Any, config: Mapping[str, Any], rows: int) -> None:
    """Write a configuration's sizes.

    Args:
        writer: GGUFWriter.
        config: whole configuration of the transformers library.
        rows: of the embedding.
    """
    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_vocab_size(rows)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    _add_rope(writer, config)
    window = _window(config)
    if window is not None:
        writer.add_sliding_window(window)
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(float(config["final_logit_softcapping"]))


def row_order(config: Mapping[str, Any], name: str, rows: int) -> Array:
    """Return for each row of a tensor in the file that of transformers' (out,).

    llama.cpp's rotary embedding of the architecture llama turns neighbouring rows, transformers' the two halves of a
    head.
    """
    order = np.arange(rows)
    part = name.rpartition(".")[0].rpartition(".")[2]
    if FAMILIES[str(config["model_type"])] != "llama" or part not in ("q_proj", "k_proj"):
        return order
    heads = int(config["num_attention_heads"])
    if part == "k_proj":
        heads = int(config.get("num_key_value_heads") or heads)
    return order.reshape(heads, 2, -1).swapaxes(1, 2).ravel()


def shift(config: Mapping[str, Any], name: str) -> float:
    """Return what the file's tensor has more than transformers': Gemma's norms multiply by 1 + weight."""
    return 1.0 if config["model_type"] == "gemma3_text" and name.endswith("norm.weight") else 0.0


def _add_rope(writer: Any, config: Mapping[str, Any]) -> None:
    rope = _ropes(config)
    whole = rope.get("full_attention", rope.get("", {}))
    writer.add_rope_freq_base(float(whole.get("rope_theta", 10000.0)))
    sliding = rope.get("sliding_attention", {})
    if "rope_theta" in sliding:
        writer.add_rope_freq_base_swa(float(sliding["rope_theta"]))
    if whole.get("rope_type") == "linear":
        import gguf

        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(whole["factor"]))


def _ropes(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return parameters of the rotary embedding by type of block; one for all under the name ''."""
    found = config.get("rope_parameters") or {}
    if any(isinstance(each, Mapping) for each in found.values()):
        return {name: each for name, each in found.items() if isinstance(each, Mapping)}
    return {"": found}


def _rope_types(config: Mapping[str, Any]) -> dict[str, str]:
    kinds = [str(each.get("rope_type", "default")) for each in _ropes(config).values()]
    return {kind: kind for kind in kinds}


def _window(config: Mapping[str, Any]) -> int | None:
    """Return the sliding window in tokens, if it is shorter than the context."""
    if config.get("use_sliding_window") is False:
        return None
    window = config.get("sliding_window")
    return int(window) if window and int(window) < int(config.get("max_position_embeddings", sys.maxsize)) else None


def _gemma_layers(count: int) -> list[str]:
    return ["full_attention" if (each + 1) % _GEMMA_PERIOD == 0 else "sliding_attention" for each in range(count)]
