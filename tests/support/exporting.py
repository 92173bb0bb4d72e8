"""A small language model with integer layers, its tokenizer, and a bundle of it, to be exported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from overwinter import models
from overwinter.bundle import BundleFacts, hibernate
from overwinter.models import Grid, IntegerEmbedding, IntegerLinear, replace_layer
from overwinter.runtime import build
from overwinter.signature import Signature
from tests.support.networks import language_model
from tests.support.tokenizers_of import byte_level

SIZES = {
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "bos_token_id": 258,
    "eos_token_id": 259,
    "initializer_range": 0.2,  # its predictions differ enough that a wrong weight shows
}
INT4 = Grid(bits=4, group_size=32, symmetric=False)
INT8 = Grid(bits=8, group_size=32)
TOKENS = np.random.default_rng(0).integers(0, 256, (3, 12))


def save_tokenizer(folder: Path) -> Path:
    """Write a byte-level tokenizer that fits `SIZES`, with one merge, which some readers want; return the folder."""
    folder.mkdir(parents=True)
    byte_level([("l", "o")]).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 258, "eos_token_id": 259}))
    return folder


def save_int4(folder: Path, *, grid: Grid = INT4, **sizes: Any) -> Path:
    """Save a language model of random weights: blocks on a grid, a tied embedding in 8 bits; return the folder."""
    model = language_model(SIZES | sizes)
    for name, module in list(model.named_modules()):
        if "layers" in name and isinstance(module, torch.nn.Linear):
            replace_layer(model, name, IntegerLinear.from_float(module, grid))
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, INT8)
    head = IntegerLinear.from_float(model.network.lm_head, INT8)
    head.share_codes(embedding)
    replace_layer(model, "network.model.embed_tokens", embedding)
    replace_layer(model, "network.lm_head", head)
    models.save_model(
        folder,
        model,
        variant="int4_nearest",
        model_config=model.saved_as(),
        signature=Signature.of_one([None], dtype="int64"),
        lineage={},
        quantization={"method": "int4_nearest"},
    )
    return folder


def outputs(folder: Path) -> Path:
    """Write what the stages train and quantize leave, as far as an export reads it; return the variant's folder."""
    save_tokenizer(folder / "outputs" / "train" / "tokenizer")
    return save_int4(folder / "outputs" / "quantize" / "model" / "int4_nearest")


def put_to_sleep(saved: Path, folder: Path, *, runtime: str = "torch") -> Path:
    """Write a bundle of a saved language model; return its folder."""
    payload = folder / "payload"
    build(saved, runtime, payload, examples=TOKENS, trusted=[])
    save_tokenizer(folder / "extras" / "tokenizer")
    facts = BundleFacts(
        variant="int4_nearest",
        runtime=runtime,
        signature=Signature.of_one([None], dtype="int64"),
        task={"name": "language_modeling"},
        labels=(),
        preprocessing={},
        production_energy_j=None,
        lineage={},
    )
    made = hibernate(
        folder / "bundle",
        payload=payload,
        facts=facts,
        canary_inputs=TOKENS,
        canary_tolerance=1e-3,
        extras=folder / "extras",
    )
    return made.folder
