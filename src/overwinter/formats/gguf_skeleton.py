"""A GGUF file of a model's shape, in which every tensor has one value throughout, by which it is found again.

Another program's reader makes its graph from it; then the constants with these values are replaced by the weights,
which so need no form in GGUF.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.formats.gguf_blocks import BLOCK, Blocks
from overwinter.formats.gguf_writing import (
    Named,
    add_blocks,
    embedding_rows,
    named_tensors,
    new_file,
    whole_configuration,
)
from overwinter.inputs import Array
from overwinter.models import CausalLanguageModel

_FIRST, _MARKS = 0x3C00, 0x3C00  # float16 from 1 upwards: bits of the first, and how many there are
_MIDDLE = 0x88  # two of Q4_0's codes of the value 0
_Q4_0 = 2  # llama.cpp's number of the file type


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A tensor of the skeleton.

    Attributes:
        name: name in transformers' module, such as ``model.layers.0.self_attn.q_proj.weight``.
        shape: its shape.
        mark: the value of its scales, or of itself where it has none; a float16 value.
        marks: how many of them there are.
    """

    name: str
    shape: tuple[int, ...]
    mark: float
    marks: int


def write_skeleton(model: CausalLanguageModel, path: Path) -> list[Marked]:
    """Write the skeleton of a language model, with a vocabulary of three tokens, and return its tensors.

    Raises:
        ConfigError: it has more tensors than there are marks, or a tensor has no name in GGUF.
    """
    config = whole_configuration(model)
    tensors = list(named_tensors(model.network, config))
    if len(tensors) > _MARKS:
        raise ConfigError(f"The model has {len(tensors)} tensors; a skeleton can have {_MARKS}.")
    marks = np.arange(_FIRST, _FIRST + len(tensors), dtype=np.uint16).view(np.float16)
    with new_file(path, model, config, _Q4_0) as writer:
        _add_vocabulary(writer, embedding_rows(model))
        return [_add(writer, tensor, mark) for tensor, mark in zip(tensors, marks, strict=True)]


def _add(writer: Any, tensor: Named, mark: np.float16) -> Marked:
    rows, columns = tensor.shape[0], tensor.shape[-1]
    if len(tensor.shape) == 1:
        blocks, marks = Blocks(kind="F32", content=np.full(tensor.shape, mark, dtype=np.float32)), rows
    elif columns % BLOCK:
        blocks, marks = Blocks(kind="F16", content=np.full(tensor.shape, mark)), rows * columns
    else:
        marks = rows * columns // BLOCK
        blocks = Blocks(kind="Q4_0", content=_zeros(rows, columns, mark))
    add_blocks(writer, tensor.name, blocks)
    return Marked(name=tensor.ours, shape=tensor.shape, mark=float(mark), marks=marks)


def _zeros(rows: int, columns: int, mark: np.float16) -> Array:
    block = np.concatenate([np.array([mark]).view(np.uint8), np.full(BLOCK // 2, _MIDDLE, dtype=np.uint8)])
    return np.tile(block, (rows, columns // BLOCK))


def _add_vocabulary(writer: Any, rows: int) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["<a>", "<b>", "<c>"][:rows])
    writer.add_token_types([3, 3, 3][:rows])
    writer.add_token_merges(["a b"])
    for name in ("bos", "eos"):
        getattr(writer, f"add_{name}_token_id")(0)
