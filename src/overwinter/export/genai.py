"""What onnxruntime-genai needs beside a language model's graph: genai_config.json, and a graph with its inputs only.

https://onnxruntime.ai/docs/genai/reference/config.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overwinter import files
from overwinter.inputs import Array

CONFIG, MODEL, SHAPE = "genai_config.json", "model.onnx", "language.json"
_ANY = "decoder"  # onnxruntime-genai's type of a language model that needs nothing of its family
_SEARCH = ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty")  # that are in generation settings too
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


def write_genai(folder: Path, *, family: str | None) -> None:
    """Make a folder with ``model.onnx`` one that onnxruntime-genai loads.

    Args:
        folder: what the runtime `onnxruntime` built, and the tokenizer.
        family: ``model_type`` of the transformers library; None if it is not known.
    """
    import onnx

    model = onnx.load(folder / MODEL, load_external_data=False)
    inputs = [each.name for each in model.graph.input]
    _give_default(model, "logits_from")
    files.write_bytes(folder / MODEL, model.SerializeToString(deterministic=True))
    files.write_json(folder / CONFIG, _config(folder, model, inputs, family or _ANY))


def genai_logits(folder: Path, tokens: Array) -> Array:
    """Return logits (batch, length, vocabulary) of tokens (batch, length) that onnxruntime-genai reads one by one."""
    import onnxruntime_genai  # type: ignore[import-untyped]  # has no types

    model = onnxruntime_genai.Model(str(folder))
    return np.stack([_read(onnxruntime_genai, model, row) for row in tokens])


def _read(genai: Any, model: Any, row: Array) -> Array:
    settings = genai.GeneratorParams(model)
    settings.set_search_options(max_length=len(row) + 1)
    generator, logits = genai.Generator(model, settings), []
    for token in row:
        generator.append_tokens(np.array([token], dtype=np.int32))
        logits.append(generator.get_logits()[0, -1])
    return np.stack(logits)  # (length, vocabulary)


def _give_default(model: Any, name: str) -> None:
    """Give an input that onnxruntime-genai does not know the value 0, which it has where none is passed."""
    from onnx import numpy_helper

    given = next((each for each in model.graph.input if each.name == name), None)
    if given is not None:
        rank = len(given.type.tensor_type.shape.dim)
        model.graph.initializer.append(numpy_helper.from_array(np.zeros((1,) * rank, dtype=np.int64), name))


def _config(folder: Path, model: Any, inputs: list[str], family: str) -> dict[str, Any]:
    settings, shape = _generation(folder), files.read_json(folder / SHAPE, remedy="Export the model again.")
    logits = model.graph.output[0]
    named = {name: name for name in ("input_ids", "attention_mask", "position_ids") if name in inputs}
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": MODEL,
        "head_size": shape["head_size"],
        "hidden_size": shape["hidden_size"],
        "inputs": named | {"past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value"},
        "outputs": {
            "logits": logits.name,
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": shape["attention_heads"],
        "num_hidden_layers": shape["layers"],
        "num_key_value_heads": shape["key_value_heads"],
    }
    special = {key: settings[key] for key in _SPECIAL if settings.get(key) is not None}
    if "eos_token_id" in special:  # it wants a token to fill up with
        ends = special["eos_token_id"]
        special.setdefault("pad_token_id", ends[0] if isinstance(ends, list) else ends)
    return {
        "model": {
            **special,
            "context_length": shape["context_tokens"],
            "decoder": decoder,
            "type": family,
            "vocab_size": logits.type.tensor_type.shape.dim[-1].dim_value,
        },
        "search": {
            **{key: settings[key] for key in _SEARCH if settings.get(key) is not None},
            "max_length": shape["context_tokens"],
            "past_present_share_buffer": True,
        },
    }


def _generation(folder: Path) -> Mapping[str, Any]:
    path = folder / "generation_config.json"
    settings: Mapping[str, Any] = files.read_json(path, remedy="Name the tokenizer's folder.") if path.is_file() else {}
    return settings
