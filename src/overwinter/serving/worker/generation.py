"""Writing text with a language model: token after token, until it ends, is stopped, or may go on no longer.

Sampling is numpy's: temperature and nucleus (Holtzman et al., *The Curious Case of Neural Text Degeneration*, 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from overwinter.runtime import Array, softmax


class Steps(Protocol):
    """A language model, one step at a time."""

    def step(self, tokens: Array, kept: Any = None) -> tuple[Array, Any]:
        """Return logits of the next token (batch, vocabulary) and what was kept of all tokens so far."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """What is to be written.

    Attributes:
        prompt: tokens, at least one.
        max_tokens: written at most.
        temperature: 0 takes the most probable token.
        top_p: only the most probable tokens that have this share together are drawn.
        seed: of the draws; None: by chance.
        stop: texts before which the writing ends.
    """

    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Written:
    """How a writing went, known at its end.

    Attributes:
        tokens: of the response, without the one that ended it.
        reason: `stop` (the model or a stop text ended it) or `length` (it had to end).
    """

    tokens: list[int] = field(default_factory=list)
    reason: str = "length"


def write(
    model: Steps,
    sampling: SamplingParams,
    *,
    decode: Callable[[int], str | None],
    ends: frozenset[int],
    kept: Kept,
    may_go_on: Callable[[], bool],
    written: Written,
) -> Iterator[str]:
    """Yield the text piece by piece.

    Args:
        model: awake.
        sampling: what to write.
        decode: gives what a token adds to the text; None while a character is incomplete.
        ends: tokens that end a text.
        kept: keys and values of the last conversation, used and renewed.
        may_go_on: asked before every token.
        written: filled as it goes.
    """
    draw = _drawing(sampling)
    stopping = _Stopping(sampling.stop)
    logits = kept.read(model, sampling.prompt)
    while len(written.tokens) < sampling.max_tokens and may_go_on():
        token = draw(logits)
        if token in ends:
            written.reason = "stop"
            break
        written.tokens.append(token)
        if piece := stopping.passed(decode(token) or ""):
            yield piece
        if stopping.found:
            written.reason = "stop"
            return
        if len(written.tokens) < sampling.max_tokens:
            logits = kept.grow(model, token)
    if stopping.held:
        yield stopping.held


class Kept:
    """Keys and values of the tokens read last: a prompt that begins with them is not read again."""

    def __init__(self, tokens: Sequence[int] = (), values: Any = None) -> None:
        self.tokens, self.values = list(tokens), values

    def read(self, model: Steps, prompt: Sequence[int]) -> Array:
        """Return the logits (vocabulary) of the token after the prompt."""
        known = min(_common(self.tokens, prompt), len(prompt) - 1)  # the last token is read for its logits
        values, self.values = (self.values, None) if known else (None, None)  # none are kept if reading fails
        if values is not None and len(self.tokens) > known:
            values.crop(known - len(self.tokens))  # negative: how many to forget, which is all that transformers takes
        logits, self.values = model.step(np.array([prompt[known:]], dtype=np.int64), values)
        self.tokens = list(prompt)
        return np.asarray(logits[0])

    def grow(self, model: Steps, token: int) -> Array:
        """Read one token more."""
        logits, self.values = model.step(np.array([[token]], dtype=np.int64), self.values)
        self.tokens.append(token)
        return np.asarray(logits[0])


def _common(known: Sequence[int], prompt: Sequence[int]) -> int:
    for place, (old, new) in enumerate(zip(known, prompt, strict=False)):
        if old != new:
            return place
    return min(len(known), len(prompt))


def _drawing(sampling: SamplingParams) -> Callable[[Array], int]:
    if sampling.temperature == 0:
        return lambda logits: int(logits.argmax())
    rng = np.random.default_rng(sampling.seed)

    def draw(logits: Array) -> int:
        with np.errstate(over="ignore"):  # a temperature next to 0 leaves the most probable token alone
            shares = softmax(logits, sampling.temperature)
        order = np.argsort(-shares, kind="stable")
        sums = np.cumsum(shares[order])
        nucleus = order[: int(np.searchsorted(sums, sampling.top_p * sums[-1])) + 1]
        chances = shares[nucleus] / shares[nucleus].sum()
        return int(rng.choice(nucleus, p=chances))

    return draw


class _Stopping:
    """Lets text through up to a stop text; what may become one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self.held, self.found = "", False

    def passed(self, piece: str) -> str:
        """Return what is certainly before any stop text."""
        text = self.held + piece
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.held, self.found = "", True
            return text[: min(places)]
        end = len(text) - max((_begun(text, stop) for stop in self._stops), default=0)
        self.held = text[end:]
        return text[:end]


def _begun(text: str, stop: str) -> int:
    """Return how many characters at the end of the text may be the beginning of a stop text."""
    return max((size for size in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:size])), default=0)
