"""The families: what each is, and which data and task it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SIZES = {
    "vocab_size": 260,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.1,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 258,
}
_GROUPED = _SIZES | {"num_key_value_heads": 2}


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model that people use.

    Attributes:
        title: for the table.
        model: `_target_` and arguments.
        data: the class in `family_models.data`.
        task: the group `task`.
        learning_rate: of AdamW.
    """

    title: str
    model: Mapping[str, Any]
    data: str
    task: Mapping[str, Any] = field(default_factory=lambda: {"name": "classification"})
    learning_rate: float = 0.003


def _own(title: str, target: str, data: str, task: str = "classification", **more: Any) -> Family:
    return Family(title=title, model={"_target_": f"family_models.{target}"}, data=data, task={"name": task}, **more)


def _decoder(title: str, model_type: str, config: Mapping[str, Any]) -> Family:
    return Family(
        title=title,
        model={
            "_target_": "overwinter.models.CausalLanguageModel",
            "config": {"model_type": model_type, **config},
        },
        data="NextBytes",
        task={"name": "language_modeling"},
    )


FAMILIES: dict[str, Family] = {
    "mlp": _own("MLP", "sequential.Mlp", "Ink", "regression"),
    "cnn": _own("CNN of the textbooks", "convolutional.PlainCnn", "Images"),
    "vgg": _own("VGG", "convolutional.Vgg", "Images"),
    "resnet": _own("ResNet", "convolutional.ResNet", "Images"),
    "mobilenet_v3": _own("MobileNetV3", "convolutional.MobileNetV3", "Images"),
    "efficientnet": _own("EfficientNet", "convolutional.EfficientNet", "Images"),
    "convnext": _own("ConvNeXt", "convolutional.ConvNeXt", "Images"),
    "densenet": _own("DenseNet", "convolutional.DenseNet", "Images"),
    "unet": _own("U-Net", "convolutional.UNet", "Masks", "segmentation"),
    "tcn": _own("temporal convolutional network", "sequential.TemporalConvNet", "Series", "forecasting"),
    "lstm": _own("LSTM", "sequential.LstmForecaster", "Series", "forecasting"),
    "gru": _own("GRU", "sequential.GruTagger", "Tags", "token_classification"),
    "transformer_encoder": _own("nn.TransformerEncoder", "sequential.RowsTransformer", "Rows", "multilabel"),
    "vit_attention": _own("ViT on nn.MultiheadAttention", "sequential.AttentionViT", "Images"),
    "vit": _own("ViT (transformers)", "huggingface.ViT", "Images"),
    "bert": _own("BERT", "huggingface.Bert", "Passages"),
    "distilbert": _own("DistilBERT", "huggingface.DistilBert", "NamedTags", "token_classification"),
    "llama": _decoder("Llama, grouped queries", "llama", _GROUPED),
    "qwen2": _decoder("Qwen2", "qwen2", _GROUPED),
    "mistral": _decoder("Mistral", "mistral", _GROUPED | {"sliding_window": 16}),
    "gemma": _decoder("Gemma", "gemma", _GROUPED | {"head_dim": 12}),
    "phi": _decoder("Phi", "phi", _SIZES),
    "opt": _decoder(
        "OPT",
        "opt",
        {
            **{key: value for key, value in _SIZES.items() if key != "intermediate_size"},
            "ffn_dim": 96,
            "word_embed_proj_dim": 48,
        },
    ),
    "gpt2": _decoder(
        "GPT-2 (Conv1D)",
        "gpt2",
        {
            "vocab_size": 260,
            "n_embd": 48,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 128,
            "bos_token_id": 256,
            "eos_token_id": 257,
        },
    ),
}
