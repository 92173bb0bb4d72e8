"""A model of the transformers library with a head, or an encoder for embeddings, as a plain module.

It is built from its configuration alone, so a saved model needs neither its original folder nor third-party code.
Causal language models, which generate step by step, are in `overwinter.models.causal`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.models.transformers_library import built

EMBEDDING, POOLED_CLASSIFICATION = "embedding", "pooled_classification"
HEADS = {
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "image_classification": "AutoModelForImageClassification",
    EMBEDDING: "AutoModel",
    POOLED_CLASSIFICATION: "AutoModel",
}
"""Head -> class of the transformers library."""

POOLED = (EMBEDDING, POOLED_CLASSIFICATION)
"""Heads on an encoder's pooled states, not on the first state as the library's classifiers."""

POOLINGS = ("mean", "cls")
_UNNAMED = re.compile(r"LABEL_\d+")  # what transformers calls a class without a name


class PretrainedModel(nn.Module):
    """Logits, or embeddings, of text or images.

    Args:
        config: configuration of the transformers library, as JSON, with ``model_type``.
        head: one of `HEADS`.
        pooling: of an encoder's states to one embedding: ``mean`` over the attention mask, or ``cls``, the first one.
        normalize: whether embeddings have the length 1.
        classes: of the linear layer on the pooled states, for the head ``pooled_classification``.
        random_weights: whether to draw initial weights; not needed before loading weights.

    Attributes:
        config: as given.
        network: the transformers module; ``network.config`` is its configuration.
        fresh: names of weights that were drawn, as those of a new head are; empty if all were loaded.

    Raises:
        ConfigError: the extra `llm` is missing, the installed transformers has no such model, or an argument is none
            of the choices.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        head: str,
        pooling: str = "mean",
        normalize: bool = False,
        classes: int | None = None,
        random_weights: bool = True,
    ) -> None:
        super().__init__()
        for key, value, choices in (("head", head, tuple(HEADS)), ("pooling", pooling, POOLINGS)):
            if value not in choices:
                raise ConfigError(f"model.{key}={value!r} is none of {', '.join(choices)}.")
        if (head == POOLED_CLASSIFICATION) != (classes is not None):
            raise ConfigError(
                f"model.head={head} with classes={classes}: {POOLED_CLASSIFICATION} alone needs a number."
            )
        self.config, self.head, self.pooling, self.normalize = dict(config), head, pooling, normalize
        self.fresh: tuple[str, ...] = ()
        what = f"model for {head.replace('_', ' ')}"
        self.network = built(HEADS[head], self.config, what=what, random_weights=random_weights)
        if head in POOLED and isinstance(getattr(self.network, "pooler", None), nn.Module):
            drop_pooler(self.network)
        self.classifier = None if classes is None else nn.Linear(self.network.config.hidden_size, classes)

    def forward(self, inputs: torch.Tensor | None = None, **named: torch.Tensor) -> torch.Tensor:
        """Return logits, or embeddings (batch, size), float32.

        Args:
            inputs: the main input: tokens (batch, length), int64, or pixels (batch, channels, height, width), float32.
            named: inputs by the names of transformers: ``input_ids``, ``attention_mask``, ``token_type_ids``,
                ``pixel_values``.

        Returns:
            (batch, classes), for token classification (batch, length, classes).
        """
        given = named if inputs is None else {self.network.main_input_name: inputs, **named}
        output = self.network(**given, return_dict=True)
        if self.head not in POOLED:
            logits: torch.Tensor = output.logits
            return logits.float()
        pooled = self._pooled(output.last_hidden_state.float(), given.get("attention_mask"))
        if self.classifier is None:
            return pooled
        scores: torch.Tensor = self.classifier(pooled)
        return scores.float()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes in the configuration; empty if it names none."""
        named = {} if self.head in POOLED else self.config.get("id2label") or {}
        names = [str(named[key]) for key in sorted(named, key=int)]
        return () if any(_UNNAMED.fullmatch(name) for name in names) else tuple(names)

    def saved_as(self) -> dict[str, Any]:
        """Return the ``model_config`` for `save_model`, with which it loads on any machine."""
        return {
            "_target_": "overwinter.models.PretrainedModel",
            "config": self.config,
            "head": self.head,
            "pooling": self.pooling,
            "normalize": self.normalize,
            **({} if self.classifier is None else {"classes": self.classifier.out_features}),
            "random_weights": False,
        }

    def _pooled(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return (batch, size) of states (batch, length, size), or of an image's (batch, size, height, width)."""
        if states.dim() == 4:
            states = states.flatten(2).transpose(1, 2)
        if self.pooling == "cls":
            pooled = states[:, 0]
        elif mask is None:
            pooled = states.mean(1)
        else:
            weights = mask[..., None].to(states.dtype)  # (batch, length, 1)
            pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


def drop_pooler(network: Any) -> None:
    """Remove the layer after the first state that encoders are trained with, and that embeddings leave out."""
    if any(True for _ in network.pooler.parameters()):
        network.pooler = None
