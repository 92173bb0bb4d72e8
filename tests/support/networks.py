"""Small networks that many tests build."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter import models
from overwinter.signature import Signature

CONVNET = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 8, 8],
    "classes": 3,
    "channels": [4, 6],
    "pool_after": [1],
}
LLAMA = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
# Its layers are wide enough for grids in groups and for torchao's kernels.
WIDE_LLAMA = LLAMA | {"vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "tie_word_embeddings": True}


def seasoned(config: dict[str, Any]) -> nn.Module:
    """Return a network whose batch normalisation has seen data."""
    torch.manual_seed(0)
    model = models.build_model(config, trusted=[])
    model(torch.randn(64, *config["input_shape"]))
    return model.eval()


def language_model(sizes: dict[str, Any] = LLAMA, *, seed: int = 0) -> models.CausalLanguageModel:
    """Return a Llama of random weights."""
    torch.manual_seed(seed)
    return models.CausalLanguageModel(config={"model_type": "llama", **sizes}).eval()


def save_dense(folder: Path, model: nn.Module, config: dict[str, Any], signature: Signature) -> Path:
    """Save a model as the stage `train` does, with nothing behind it; return the folder."""
    models.save_model(folder, model, variant="dense", model_config=config, signature=signature, lineage={})
    return folder


def save_language_model(folder: Path, model: models.CausalLanguageModel, *, length: int = 4) -> Path:
    """Save a language model that reads so many tokens; return the folder."""
    return save_dense(folder, model, model.saved_as(), Signature.of_one([length], dtype="int64"))
