"""A Llama of random weights as a GGUF file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

HIDDEN, BLOCKS, HEADS, WORDS = 32, 2, 4, 64


def write_gguf(
    path: Path,
    *,
    family: str = "llama",
    blocks: str = "Q4_1",
    embedding: str = "Q8_0",
    words: int = WORDS,
    rows: int = WORDS,
    add_bos: bool | None = False,
    hidden: int = HIDDEN,
    splitting: str | None = "gpt-2",
    head: int | None = None,
) -> Path:
    """Write the file, and return where it is.

    Args:
        path: of the file.
        family: ``general.architecture``.
        blocks: type of the blocks' matrices.
        embedding: type of the embedding, which is the head too.
        words: of the tokenizer.
        rows: of the embedding.
        add_bos: whether the tokenizer begins every text with the token 1; None: the file does not say.
        hidden: width of the model; the K formats need 256.
        splitting: how the tokenizer splits texts, ``tokenizer.ggml.pre``; None: the file does not say.
        head: width of a head; None: the file does not say, and it is the model's over the heads.
    """
    gguf = pytest.importorskip("gguf", reason="the extra llm is not installed")
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(64)
    writer.add_embedding_length(hidden)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(2 * hidden)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    if head is not None:
        writer.add_key_length(head)
        writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(rows)
    writer.add_file_type(gguf.LlamaFileType.GUESSED)  # openvino-genai reads no file without one
    _write_tokenizer(writer, words, add_bos, splitting)

    def add(name: str, *shape: int, kind: str) -> None:
        values = random.standard_normal(shape).astype(np.float32) / 8 if len(shape) > 1 else np.ones(shape, np.float32)
        quantization = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quantize(values, quantization), raw_dtype=quantization)

    add("token_embd.weight", rows, hidden, kind=embedding)
    add("output_norm.weight", hidden, kind="F32")
    inner = hidden if head is None else HEADS * head
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v"):
            add(f"blk.{block}.{name}.weight", inner, hidden, kind=blocks)
        add(f"blk.{block}.attn_output.weight", hidden, inner, kind=blocks)
        if family == "qwen3":
            for name in ("attn_q_norm", "attn_k_norm"):
                add(f"blk.{block}.{name}.weight", inner // HEADS, kind="F32")
        for name in ("ffn_gate", "ffn_up"):
            add(f"blk.{block}.{name}.weight", 2 * hidden, hidden, kind=blocks)
        add(f"blk.{block}.ffn_down.weight", hidden, 2 * hidden, kind=blocks)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{block}.{name}.weight", hidden, kind="F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_tokenizer(writer: Any, words: int, add_bos: bool | None, splitting: str | None) -> None:
    writer.add_tokenizer_model("gpt2")
    if splitting is not None:
        writer.add_tokenizer_pre(splitting)
    writer.add_token_list(["<unk>", "<bos>", "<eos>"] + [chr(ord("!") + place) for place in range(words - 4)] + ["!#"])
    writer.add_token_types([3, 3, 3] + [1] * (words - 3))
    writer.add_token_merges(["! #"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)


def change_type(path: Path, tensor: str, number: int) -> None:
    """Give a tensor of a file another type, which its header names by a number."""
    content = bytearray(path.read_bytes())
    place = content.index(tensor.encode()) + len(tensor)
    dimensions = int.from_bytes(content[place : place + 4], "little")
    place += 4 + 8 * dimensions
    content[place : place + 4] = number.to_bytes(4, "little")
    path.write_bytes(content)
