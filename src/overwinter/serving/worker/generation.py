"""Text generation with a language model, token by token, until its end, a stop text or an interruption.

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
        """Return the logits of the next token (batch, vocabulary), and the cache of all tokens so far."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """The prompt and the sampling parameters of a generation.

    Attributes:
        prompt: The prompt's tokens, at least one.
        max_tokens: The maximum number of generated tokens.
        temperature: The temperature; 0 takes the most probable token.
        top_p: The total probability of the most probable tokens to draw from.
        seed: The random seed; None: random.
        stop: The texts before which the generation ends.
    """

    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Written:
    """The result of a generation, known at its end.

    Attributes:
        tokens: The number of tokens of the response, without the one that ended it.
        reason: `stop` (ended by the model or a stop text) or `length` (ended by a limit).
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
        model: The woken model.
        sampling: The prompt and the sampling parameters.
        decode: Returns the text that a token adds; None while a character is incomplete.
        ends: The tokens that end a text.
        kept: The prefix cache, used and updated.
        may_go_on: Called before every token; False ends the generation.
        written: The result, updated during the generation.
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
    """The prefix cache: keys and values of the last tokens, reused by a prompt that begins with them."""

    def __init__(self, tokens: Sequence[int] = (), values: Any = None) -> None:
        self.tokens, self.values = list(tokens), values

    def read(self, model: Steps, prompt: Sequence[int]) -> Array:
        """Return the logits (vocabulary) of the token after the prompt."""
        known = min(_common(self.tokens, prompt), len(prompt) - 1)  # the last token is computed for its logits
        values, self.values = (
            (self.values, None) if known else (None, None)
        )  # the cache is empty if the computation fails
        if values is not None and len(self.tokens) > known:
            values.crop(
                known - len(self.tokens)
            )  # negative: the number of tokens to remove, the only argument that transformers takes
        logits, self.values = model.step(np.array([prompt[known:]], dtype=np.int64), values)
        self.tokens = list(prompt)
        return np.asarray(logits[0])

    def grow(self, model: Steps, token: int) -> Array:
        """Add one token."""
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
    """A filter that passes text up to a stop text, and holds back text that may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self.held, self.found = "", False

    def passed(self, piece: str) -> str:
        """Return the text that is certainly before any stop text."""
        text = self.held + piece
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.held, self.found = "", True
            return text[: min(places)]
        end = len(text) - max((_begun(text, stop) for stop in self._stops), default=0)
        self.held = text[end:]
        return text[:end]


def _begun(text: str, stop: str) -> int:
    """Return the number of characters at the end of the text that may begin a stop text."""
    return max((size for size in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:size])), default=0)
