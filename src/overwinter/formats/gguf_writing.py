"""A saved language model as a GGUF file.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from overwinter import files
from overwinter.errors import ConfigError
from overwinter.formats.gguf_blocks import Blocks, to_blocks
from overwinter.formats.gguf_families import FAMILIES, add_hyperparameters, gguf_refusal, row_order, shift
from overwinter.formats.gguf_tokenizer import add_no_tokenizer, add_tokenizer
from overwinter.inputs import Array
from overwinter.models import CausalLanguageModel, IntegerLayer, load_description, load_model

_HEAD = "lm_head"
_VECTORS, _MATRICES = "F32", "F16"  # of what is not integer


def write_gguf(model_folder: Path, path: Path, *, tokenizer_folder: Path | None = None) -> dict[str, str]:
    """Write a saved language model, dense or with integer layers, as GGUF.

    Args:
        model_folder: the saved model.
        path: file to write.
        tokenizer_folder: folder with its tokenizer.json, as `overwinter.models.save_tokenizer` writes it; None: the
            file has no vocabulary, and programs must be given tokens.

    Returns:
        The type of every tensor by its name in the file, such as ``Q4_1``.

    Raises:
        ConfigError: the model's family, sizes or tokenizer have no form in GGUF; the package gguf is missing.
        OverwinterError: the saved model is damaged.
    """
    description = load_description(model_folder)
    reason = gguf_refusal(description)
    if reason is not None:
        raise ConfigError(f"{model_folder} cannot be written as GGUF: {reason}.")
    model = load_model(model_folder, trusted=())
    if not isinstance(model, CausalLanguageModel):
        raise ConfigError(f"{model_folder} holds a {type(model).__name__}, not a language model.")
    return write_module(model, path, tokenizer_folder=tokenizer_folder)


def write_module(model: CausalLanguageModel, path: Path, *, tokenizer_folder: Path | None = None) -> dict[str, str]:
    """Write a loaded language model; see `write_gguf`."""
    _check_sizes(model)
    config = whole_configuration(model)
    tensors = {tensor.name: _stored(_content(config, tensor)) for tensor in named_tensors(model.network, config)}
    with new_file(path, model, config, _file_type(tensors)) as writer:
        if tokenizer_folder is None:
            add_no_tokenizer(writer, config)
        else:
            add_tokenizer(writer, tokenizer_folder, embedding_rows(model))
        for name, blocks in tensors.items():
            add_blocks(writer, name, blocks)
    return {name: blocks.kind for name, blocks in tensors.items()}


@dataclass(frozen=True, kw_only=True)
class Named:
    """A tensor of a model.

    Attributes:
        name: in the file.
        ours: in transformers' module.
        owner: module that has it.
        part: the owner's attribute.
    """

    name: str
    ours: str
    owner: nn.Module
    part: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        if self.part == "weight" and isinstance(self.owner, IntegerLayer):
            return self.owner.weight_shape
        return tuple(getattr(self.owner, self.part).shape)


@contextlib.contextmanager
def new_file(path: Path, model: CausalLanguageModel, config: Mapping[str, Any], file_type: int) -> Iterator[Any]:
    """Yield a GGUFWriter with a model's hyperparameters; what is added to it is in the file at the end."""
    import gguf

    with files.replacing(path) as staging:
        writer = gguf.GGUFWriter(staging, FAMILIES[str(config["model_type"])])
        writer.add_type(gguf.GGUFType.MODEL)
        add_hyperparameters(writer, config, embedding_rows(model))
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def add_blocks(writer: Any, name: str, blocks: Blocks) -> None:
    """Add a tensor."""
    import gguf

    writer.add_tensor(name, blocks.content, raw_dtype=gguf.GGMLQuantizationType[blocks.kind])


def whole_configuration(model: CausalLanguageModel) -> dict[str, Any]:
    """Return the configuration with the library's defaults."""
    whole: dict[str, Any] = model.network.config.to_dict()
    return {**whole, "model_type": model.config["model_type"]}


def embedding_rows(model: CausalLanguageModel) -> int:
    """Return the number of rows of the embedding: tokens, and perhaps some more."""
    embedding = model.network.get_input_embeddings()
    return int(embedding.weight_shape[0] if isinstance(embedding, IntegerLayer) else embedding.weight.shape[0])


def named_tensors(network: Any, config: Mapping[str, Any]) -> Iterator[Named]:
    """Yield every tensor that a file has; a tied head is the embedding."""
    import gguf

    family = {name: each for each, name in gguf.MODEL_ARCH_NAMES.items()}[FAMILIES[str(config["model_type"])]]
    names = gguf.get_tensor_name_map(family, int(config["num_hidden_layers"]))
    tied = _is_tied(network)
    for name, owner, part in _named(network):
        if tied and name.startswith(f"{_HEAD}."):
            continue
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise ConfigError(f"The tensor {name} of a {config['model_type']} model has no name in GGUF.")
        yield Named(name=theirs, ours=name, owner=owner, part=part)


def _named(network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield name, owner and attribute of every weight: parameters, and the weights of integer layers."""
    for prefix, module in network.named_modules():
        own = [part for part, _ in module.named_parameters(recurse=False)]
        for part in (["weight"] if isinstance(module, IntegerLayer) else []) + own:
            yield f"{prefix}.{part}", module, part


def _content(config: Mapping[str, Any], tensor: Named) -> Blocks | Array:
    order, owner = row_order(config, tensor.ours, tensor.shape[0]), tensor.owner
    if tensor.part == "weight" and isinstance(owner, IntegerLayer):
        return to_blocks(owner, order) or _dequantized(owner)[order]
    values = getattr(owner, tensor.part).detach().float().cpu().numpy()
    return np.asarray(values[order] + np.float32(shift(config, tensor.ours)))


def _dequantized(layer: IntegerLayer) -> Array:
    """Return the weight (out, in) with the factors of its input, which GGUF has no place for."""
    weight = layer.weight() if layer.smoothing is None else layer.weight() * layer.smoothing
    return np.asarray(weight.float().cpu().numpy())


def _stored(content: Blocks | Array) -> Blocks:
    if isinstance(content, Blocks):
        return content
    kind = _VECTORS if content.ndim == 1 else _MATRICES
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(content.astype(np.float32 if kind == _VECTORS else np.float16))
    if not np.isfinite(values).all():
        raise ConfigError(f"A weight of {np.abs(content).max():g} is too large for GGUF's float16.")
    return Blocks(kind=kind, content=values)


def _file_type(tensors: Mapping[str, Blocks]) -> int:
    """Return the number of the type that most of the blocks' bytes have."""
    import gguf

    sizes: collections.Counter[str] = collections.Counter()
    for name, blocks in tensors.items():
        if name.startswith("blk.") and blocks.kind != _VECTORS:
            sizes[blocks.kind] += blocks.content.nbytes
    return int(gguf.LlamaFileType[f"MOSTLY_{sizes.most_common(1)[0][0]}"])


def _is_tied(network: Any) -> bool:
    """Whether the head has the embedding's weight, float or as codes."""
    head, embedding = network.get_output_embeddings(), network.get_input_embeddings()
    return bool(_memory(head) == _memory(embedding))


def _memory(module: Any) -> int:
    tensor: torch.Tensor = module.codes if isinstance(module, IntegerLayer) else module.weight
    return tensor.data_ptr()


def _check_sizes(model: CausalLanguageModel) -> None:
    """Refuse models whose channels were removed: GGUF has one width for all blocks."""
    wanted = int(model.network.config.intermediate_size)
    for name, module in model.network.named_modules():
        if name.endswith("mlp.down_proj") and int(module.in_features) != wanted:
            raise ConfigError(
                f"{name} has {module.in_features} inputs, the configuration {wanted}: channels were removed, and GGUF "
                "has one width for all blocks."
            )
