"""Encoders of the transformers library with random weights; decoders are `overwinter.models.CausalLanguageModel`."""

from __future__ import annotations

import transformers


class Bert(transformers.BertForSequenceClassification):
    """Devlin et al. (2019): the class of a passage, from input_ids and attention_mask."""

    def __init__(self, labels: int = 3) -> None:
        super().__init__(
            transformers.BertConfig(
                vocab_size=260, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                max_position_embeddings=64, num_labels=labels, initializer_range=0.15,
            )
        )  # fmt: skip


class DistilBert(transformers.DistilBertForTokenClassification):
    """Sanh et al. (2019): a class for each token, from input_ids and attention_mask."""

    def __init__(self, labels: int = 3) -> None:
        super().__init__(
            transformers.DistilBertConfig(
                vocab_size=260, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64,
                num_labels=labels, initializer_range=0.15,
            )
        )  # fmt: skip


class ViT(transformers.ViTForImageClassification):
    """Dosovitskiy et al. (2021), from pixel_values (n, 1, 16, 16)."""

    def __init__(self, labels: int = 10) -> None:
        super().__init__(
            transformers.ViTConfig(
                image_size=16, patch_size=4, num_channels=1, hidden_size=32, num_hidden_layers=2,
                num_attention_heads=4, intermediate_size=64, num_labels=labels, initializer_range=0.15,
            )
        )  # fmt: skip
