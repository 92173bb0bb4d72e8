"""The next token of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.dense_classes import cross_entropy, mean_divergence
from overwinter.tasks.interface import Array, Measure, Values
from overwinter.tasks.numbers import log_softmax
from overwinter.tasks.targets import IGNORED

if TYPE_CHECKING:
    import torch


class LanguageModeling:
    """Causal language modeling: outputs are logits (n, length, vocabulary), targets the token after each (n, length).

    A target of -100 does not count.

    Args:
        labels: none: tokens are named by the tokenizer.
    """

    headline = Measure(name="perplexity", higher_is_better=False)

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self._labels = tuple(labels)

    @property
    def measures(self) -> dict[str, Measure]:
        """Perplexity and the share of tokens that are predicted first."""
        return {each.name: each for each in (self.headline, Measure(name="token_accuracy"))}

    def check_targets(self, targets: Array) -> None:
        """Refuse what are no rows of token numbers.

        Raises:
            ConfigError: with the value or shape.
        """
        if targets.ndim != 2 or targets.dtype.kind not in "iu":
            raise ConfigError(
                f"A target is {targets.dtype} of the shape {list(targets.shape[1:])}: language modeling takes the "
                "number of the next token at every position."
            )
        counted = targets[targets != IGNORED]
        if counted.size and counted.min() < 0:
            raise ConfigError(f"There is the target {counted.min()}: tokens are numbered from 0; {IGNORED} is ignored.")

    def check_outputs(self, outputs: Array, targets: Array) -> None:
        """Refuse what are no logits (n, length, vocabulary), or too few of them.

        Raises:
            ConfigError: with both shapes, or the token that is not in the vocabulary.
        """
        if outputs.ndim != 3 or outputs.shape[:2] != targets.shape:
            raise ConfigError(
                f"The model returns {list(outputs.shape)} for targets {list(targets.shape)}: language modeling takes "
                "logits (n, length, vocabulary)."
            )
        if targets.max() >= outputs.shape[2]:
            raise ConfigError(
                f"There is the token {targets.max()}, and the model knows {outputs.shape[2]}: tokenizer and model do "
                "not belong together."
            )

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross entropy over the tokens that count."""
        return cross_entropy(outputs.movedim(-1, 1), targets)  # (n, vocabulary, length)

    def measure(self, outputs: Array, targets: Array) -> dict[str, float]:
        """Return perplexity and token accuracy over the tokens that count."""
        counts = targets != IGNORED
        safe = np.where(counts, targets, 0)
        chosen = np.take_along_axis(log_softmax(outputs), safe[..., None], axis=-1)[..., 0]  # (n, length)
        return {
            "perplexity": float(np.exp(-chosen[counts].mean())),
            "token_accuracy": float((outputs.argmax(axis=-1) == targets)[counts].mean()),
        }

    def divergence(self, outputs: Array, reference: Array) -> Values:
        """Return the Kullback-Leibler divergence in nats, the mean over tokens (n,)."""
        return mean_divergence(outputs, reference)

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the most probable next token after the last position; whole texts are the generator's work."""
        return {"token": int(output[-1].argmax())}
