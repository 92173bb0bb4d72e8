"""A program that writes the ONNX graph of a saved language model: ``MODEL_FOLDER OUT``.

onnxruntime-genai's builder makes the graph from transformers' modules. Layers with integer weights are given to it as
float ones whose rows are filled with the rows' numbers, which take no memory: however the builder joins, cuts or
transposes them, the numbers tell which rows of which layer a constant of the graph holds (`labelled`).
https://github.com/microsoft/onnxruntime-genai/tree/main/src/python/py/models
"""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from overwinter import files
from overwinter.models import (
    CausalLanguageModel,
    IntegerEmbedding,
    IntegerLayer,
    embedding_factor,
    load_description,
    load_model,
    pretrained,
)
from overwinter.models.gguf_integers import read_integers
from overwinter.models.given import GIVEN_FILE, is_given
from overwinter.runtime.onnx_language import BUILDERS
from overwinter.runtime.onnx_language_graph import LOGITS_FROM, IntegerGraph, slice_before
from overwinter.runtime.onnx_language_integers import Source, gguf_sources, layer_sources
from overwinter.runtime.onnx_language_labels import Labels
from overwinter.runtime.onnx_language_session import MODEL, SHAPE, WEIGHTS

_NETWORK = "network."  # of a `CausalLanguageModel`
_HEAD = "/lm_head/MatMul"  # the builder's name
_MOST_INLINE_BYTES = 1024  # larger constants are in the file of weights


def main(model_folder: str, out: str) -> None:
    """Write ``model.onnx``, its weights and ``language.json``."""
    model, sources = _loaded(Path(model_folder))
    with contextlib.redirect_stdout(sys.stderr):  # the builder reports its progress
        graph, shape = language_graph(model, sources)
    ir.save(graph, Path(out) / MODEL, external_data=WEIGHTS, size_threshold_bytes=_MOST_INLINE_BYTES)
    files.write_json(Path(out) / SHAPE, shape)


def language_graph(model: CausalLanguageModel, sources: Mapping[str, Source]) -> tuple[ir.Model, dict[str, int]]:
    """Return the graph of a model, whose layers are used up, and what opening it needs to know.

    The graph has the builder's inputs (``input_ids``, ``attention_mask``, ``past_key_values.0.key``, ...) and
    ``logits_from``, the first position whose logits are computed (0: all, -1: the last).

    Args:
        model: the model.
        sources: name of a layer in its network -> its integers; other layers stay float.
    """
    factor = _embedding_factor(model.network)
    labels = Labels(model.network, sources)
    built = _built(model, labels, factor)
    graph = built.model.graph
    slice_before(graph, next(node for node in graph if node.name == _HEAD), LOGITS_FROM)
    IntegerGraph(graph, labels, precise=_HEAD).put_integers()
    graph.sort()
    shape = {
        "layers": built.num_layers,
        "hidden_size": built.hidden_size,
        "attention_heads": built.num_attn_heads,
        "key_value_heads": built.num_kv_heads,
        "head_size": built.head_size,
        "context_tokens": built.context_length,
    }
    return built.model, shape


def _loaded(folder: Path) -> tuple[CausalLanguageModel, Mapping[str, Source]]:
    """Return a saved model and its integers, or those of a GGUF file as it was given."""
    if is_given(load_description(folder)):
        return _given(folder / GIVEN_FILE)
    model = load_model(folder, trusted=())
    if not isinstance(model, CausalLanguageModel):
        raise TypeError(f"{folder} holds a {type(model).__name__}")
    return model, layer_sources(model.network)


def _given(path: Path) -> tuple[CausalLanguageModel, Mapping[str, Source]]:
    model = pretrained(root=str(path))
    if not isinstance(model, CausalLanguageModel):
        raise TypeError(f"{path} holds a {type(model).__name__}")
    sources = {name.removeprefix(_NETWORK): source for name, source in gguf_sources(read_integers(path)).items()}
    network = model.network
    names = {id(module): name for name, module in network.named_modules()}
    embedding, head = (names[id(each)] for each in (network.get_input_embeddings(), network.get_output_embeddings()))
    if _has_tied_floats(network) and embedding in sources:
        sources[head] = sources[embedding]
    return model, sources


def _built(model: CausalLanguageModel, labels: Labels, factor: float) -> Any:
    """Run the builder on a model's modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that it imports
        logging.disable(logging.WARNING)
        import onnxruntime_genai.models  # type: ignore[import-untyped]  # noqa: F401 -- it adds its folder to the import path
        import builders  # type: ignore[import-not-found]  # isort: skip
    network = model.network

    class Builder(getattr(builders, BUILDERS[model.config["model_type"]])):  # type: ignore[misc]
        """Reads the modules in memory, and recognizes the head by itself, not by its size."""

        def load_weights(self, input_path: str) -> Any:  # noqa: ARG002
            return network

        def has_lm_head(self, module: Any) -> bool:
            return module is network.get_output_embeddings()

        def is_qkv_projection_packable(self, layer_id: int, attention: Any) -> bool:  # noqa: ARG002
            return labels.are_alike(*(each.weight for each in (attention.q_proj, attention.k_proj, attention.v_proj)))

        def make_initializer(self, tensor: Any, /, name: str, **kwargs: Any) -> None:
            super().make_initializer(labels.seen(tensor, name), name, **kwargs)

    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        floats = ir.DataType.FLOAT
        # Windows are kept whole, so that a cache can go back.
        options = {"windowed_kv_cache": False, "shared_embeddings": _has_tied_floats(network)}
        builder = Builder(_configuration(network), floats, floats, "cpu", scratch, options)
        builder.embed_attrs["scale"] = factor  # the builder's has two decimals
        builder.make_model("")
    return builder


def _embedding_factor(network: Any) -> float:
    embedding = network.get_input_embeddings()
    return embedding.factor if isinstance(embedding, IntegerEmbedding) else embedding_factor(embedding) or 1.0


def _has_tied_floats(network: Any) -> bool:
    head, embedding = network.get_output_embeddings(), network.get_input_embeddings()
    return not isinstance(embedding, IntegerLayer) and head.weight is embedding.weight


def _configuration(network: Any) -> Any:
    """Return a copy of the configuration as the builder reads it."""
    config = copy.deepcopy(network.config)
    config.architectures = [type(network).__name__]
    rope = getattr(config, "rope_parameters", None) or {}
    if "sliding_attention" in rope and "full_attention" in rope:  # of Gemma 3, as in transformers 4
        config.rope_parameters = rope["full_attention"]
        config.rope_local_base_freq = rope["sliding_attention"]["rope_theta"]
    if getattr(config, "sliding_window", None) and getattr(config, "layer_types", None) is None:  # of Mistral
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers
    if not hasattr(config, "rms_norm_eps"):  # Phi's has another name, which the builder does not read
        config.rms_norm_eps = config.layer_norm_eps
    return config


if __name__ == "__main__":
    main(*sys.argv[1:])
