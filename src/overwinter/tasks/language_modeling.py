"""The next token of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.tasks.base import ClassesTask
from overwinter.tasks.interface import Array, Criterion, Rows
from overwinter.tasks.measure import Measure, by_name, error_measure
from overwinter.tasks.targets import IGNORED


class LanguageModeling(ClassesTask):
    """Causal language modeling: outputs are logits (n, length, vocabulary), targets the token after each (n, length).

    A target of -100 does not count.

    Args:
        labels: none: tokens are named by the tokenizer.
        criterion: instead of the cross entropy; it is given logits (n, vocabulary, length).
    """

    name = "language_modeling"
    headline = error_measure("perplexity")
    class_axis = -1
    generates = True

    def __init__(self, labels: Sequence[str] = (), *, criterion: Criterion | None = None) -> None:
        super().__init__(labels, criterion=criterion)

    @property
    def measures(self) -> dict[str, Measure]:
        """Perplexity and the share of tokens that are predicted first."""
        return by_name([self.headline, Measure(name="token_accuracy")])

    def read_targets(self, targets: Array) -> Array:
        """Return the numbers of the next tokens (n, length), int64.

        Raises:
            ConfigError: with the value or shape.
        """
        if targets.ndim != 2 or targets.dtype.kind not in "iu":
            raise ConfigError(
                f"A target is {targets.dtype} of the shape {list(targets.shape[1:])}: language modeling takes the "
                "number of the next token at every position."
            )
        tokens = targets.astype(np.int64)
        counted = tokens[tokens != IGNORED]
        if counted.size and counted.min() < 0:
            raise ConfigError(f"There is the target {counted.min()}: tokens are numbered from 0; {IGNORED} is ignored.")
        return np.asarray(tokens)

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

    def rows(self, outputs: Array, targets: Array) -> Rows:
        """Return each sample's `nats`, `hits` and `tokens`, summed over the tokens that count (n,)."""
        counts = targets != IGNORED  # (n, length)
        hits = counts & (self._decisions(outputs) == targets)
        nats = [_nats(*each) for each in zip(outputs, targets, counts, strict=True)]
        return {"nats": np.asarray(nats), "hits": hits.sum(axis=1), "tokens": counts.sum(axis=1)}

    def measure(self, rows: Rows) -> dict[str, float]:
        """Return perplexity and token accuracy over the tokens that count.

        Raises:
            ConfigError: no token counts.
        """
        tokens = int(rows["tokens"].sum())
        if tokens == 0:
            raise ConfigError(f"Every target is {IGNORED}, which does not count. Give each sample some that do.")
        return {
            "perplexity": float(np.exp(rows["nats"].sum() / tokens)),
            "token_accuracy": float(rows["hits"].sum() / tokens),
        }

    def respond(self, output: Array) -> dict[str, Any]:
        """Return the most probable next token after the last position; whole texts are the generator's work."""
        return {"token": int(output[-1].argmax())}


def _nats(logits: Array, targets: Array, counts: Array) -> float:
    """Return the sum over one sample's tokens, so that no second copy of a whole batch's logits is made."""
    counted, wanted = logits[counts], targets[counts]  # (tokens, vocabulary), (tokens,)
    highest = counted.max(axis=-1, initial=-np.inf)
    rest = np.log(np.exp(counted - highest[:, None]).sum(axis=-1, dtype=np.float64))
    return float((highest + rest - counted[np.arange(len(wanted)), wanted]).sum())
