"""What openvino-genai needs beside a language model's graph: the tokenizer as graphs, and a graph with its inputs only.

https://openvinotoolkit.github.io/openvino.genai/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overwinter import files
from overwinter.errors import ConfigError
from overwinter.inputs import Array

GRAPH, TOKENIZER, DETOKENIZER = "openvino_model", "openvino_tokenizer", "openvino_detokenizer"
_FROM = "logits_from"  # the input of our runtime's graph that the pipeline does not know
_ALL = 0


def write_openvino_genai(folder: Path, config: Mapping[str, Any]) -> None:
    """Make a folder with a graph and a tokenizer one that openvino-genai loads.

    Args:
        folder: what the runtime `openvino` built, and the tokenizer's files.
        config: configuration of the transformers library; empty if it is not known.

    Raises:
        ConfigError: the tokenizer is of a kind that openvino-tokenizers has no operations for.
    """
    import openvino

    _fix_start(openvino, folder)
    for name, graph in zip((TOKENIZER, DETOKENIZER), _tokenizer_graphs(folder), strict=True):
        openvino.save_model(graph, folder / f"{name}.xml")
    if config:
        files.write_json(folder / "config.json", json.loads(json.dumps(config)))


def openvino_logits(folder: Path, tokens: Array) -> Array:
    """Return logits (batch, length, vocabulary) of tokens (batch, length) that OpenVINO computes with one thread."""
    import openvino

    compiled = openvino.Core().compile_model(folder / f"{GRAPH}.xml", "CPU", {"INFERENCE_NUM_THREADS": 1})
    request = compiled.create_infer_request()
    batch, length = tokens.shape
    given = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "position_ids": np.broadcast_to(np.arange(length), (batch, length)).copy(),
        "beam_idx": np.arange(batch, dtype=np.int32),
    }
    known = {name for port in compiled.inputs for name in port.get_names()}
    request.infer({name: value for name, value in given.items() if name in known})
    logits: Array = request.get_tensor("logits").data.copy()
    return logits


def _fix_start(openvino: Any, folder: Path) -> None:
    """Let the graph compute the logits of every position."""
    path = folder / f"{GRAPH}.xml"
    model = openvino.Core().read_model(path)
    start = next((each for each in model.get_parameters() if _FROM in each.output(0).get_names()), None)
    if start is None:
        return
    whole = openvino.opset13.constant(np.array([_ALL], dtype=np.int64))
    for target in start.output(0).get_target_inputs():
        target.replace_source_output(whole.output(0))
    model.remove_parameter(start)
    model.validate_nodes_and_infer_types()
    # Its weights are mapped from the file, which is replaced only after they are written.
    staged = folder / f"{GRAPH}.new.xml"
    openvino.save_model(model, staged, compress_to_fp16=False)
    for suffix in (".bin", ".xml"):
        staged.with_suffix(suffix).replace(path.with_suffix(suffix))


def _tokenizer_graphs(folder: Path) -> tuple[Any, Any]:
    """Return the tokenizer and the detokenizer."""
    try:
        from openvino_tokenizers import convert_tokenizer  # type: ignore[import-untyped]  # has no types
    except ImportError as error:
        raise ConfigError(f"openvino-genai's tokenizer needs openvino-tokenizers: {error}.") from None
    from overwinter.models import pretrained_tokenizer

    try:
        converted: tuple[Any, Any] = convert_tokenizer(pretrained_tokenizer(str(folder)), with_detokenizer=True)
    except Exception as error:  # noqa: BLE001 -- it raises several kinds, for whatever it does not know
        raise ConfigError(
            f"openvino-tokenizers cannot convert this tokenizer: {' '.join(str(error).split())[:200]}"
        ) from None
    return converted
