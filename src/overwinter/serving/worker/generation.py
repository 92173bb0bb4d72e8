"""Text generation with a language model, token by token, until its end, a stop text or an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from overwinter.runtime import Array, LanguageSession
from overwinter.serving.worker.sampling import drawing, logprobs_of


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """The prompt and the sampling parameters of a generation.

    Attributes:
        prompt: The prompt's tokens, at least one.
        max_tokens: The maximum number of generated tokens.
        temperature: The temperature; 0 takes the most probable token.
        top_k: The number of the most probable tokens to draw from; 0: all.
        top_p: The total probability of the most probable tokens to draw from.
        min_p: The least probability of a token to draw, as a share of the largest one.
        seed: The random seed; None: random.
        stop: The texts before which the generation ends.
        top_logprobs: The number of most probable tokens that are reported with each token; None: no log probabilities.
    """

    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None


class TokenScore(NamedTuple):
    """A written token with its log probability.

    Attributes:
        token: The token.
        logprob: Its log probability, of the model's own distribution.
        top: The most probable tokens there, with theirs.
        offset: The number of characters before it in the text.
    """

    token: int
    logprob: float
    top: Sequence[tuple[int, float]]
    offset: int


class Passage(NamedTuple):
    """A piece of the text, and the scores of the tokens read since the last one, if they were asked for."""

    text: str = ""
    scores: Sequence[TokenScore] = ()


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
    model: LanguageSession,
    sampling: SamplingParams,
    *,
    decode: Callable[[int], str | None],
    ends: frozenset[int],
    kept: Kept,
    may_go_on: Callable[[], bool],
    written: Written,
) -> Iterator[Passage]:
    """Yield the text piece by piece; the last piece may have scores and no text.

    Args:
        model: The woken model.
        sampling: The prompt and the sampling parameters.
        decode: Returns the text that a token adds; None while a character is incomplete.
        ends: The tokens that end a text.
        kept: The prefix cache, used and updated.
        may_go_on: Called before every token; False ends the generation.
        written: The result, updated during the generation.
    """
    draw = drawing(
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        seed=sampling.seed,
    )
    stopping, scoring = _Stopping(sampling.stop), _Scoring(sampling.top_logprobs)
    logits = kept.read(model, sampling.prompt)
    while len(written.tokens) < sampling.max_tokens and may_go_on():
        token = draw(logits)
        if token in ends:
            written.reason = "stop"
            break
        written.tokens.append(token)
        text = decode(token) or ""
        scoring.add(logits, token, text)
        if piece := stopping.passed(text):
            yield Passage(piece, scoring.taken())
        if stopping.found:
            written.reason = "stop"
            break
        if len(written.tokens) < sampling.max_tokens:
            logits = kept.grow(model, token)
    scores = scoring.taken()
    if stopping.held or scores:
        yield Passage(stopping.held, scores)


class Kept:
    """The prefix cache: keys and values of the last tokens, reused by a prompt that begins with them."""

    def __init__(self, tokens: Sequence[int] = (), values: Any = None) -> None:
        self.tokens, self.values = list(tokens), values

    def read(self, model: LanguageSession, prompt: Sequence[int]) -> Array:
        """Return the logits (vocabulary) of the token after the prompt."""
        known = min(_common(self.tokens, prompt), len(prompt) - 1)  # the last token is computed for its logits
        values, self.values = self.values, None  # the cache is empty if the computation fails
        if known == 0 or not _cropped(values, len(self.tokens) - known):
            known, values = 0, None
        logits, self.values = model.step(np.array([prompt[known:]], dtype=np.int64), values)
        self.tokens = list(prompt)
        return np.asarray(logits[0])

    def grow(self, model: LanguageSession, token: int) -> Array:
        """Add one token."""
        logits, self.values = model.step(np.array([[token]], dtype=np.int64), self.values)
        self.tokens.append(token)
        return np.asarray(logits[0])


def _cropped(values: Any, count: int) -> bool:
    """Remove the last tokens from a cache; False if there is none, or it cannot go back."""
    if values is None or (count and not values.can_crop):
        return False
    if count:
        values.crop(count)
    return True


def _common(known: Sequence[int], prompt: Sequence[int]) -> int:
    for place, (old, new) in enumerate(zip(known, prompt, strict=False)):
        if old != new:
            return place
    return min(len(known), len(prompt))


class _Scoring:
    """The scores of tokens whose text has not been passed yet."""

    def __init__(self, top: int | None) -> None:
        self._top = top
        self._scores: list[TokenScore] = []
        self._length = 0  # characters of all tokens so far

    def add(self, logits: Array, token: int, text: str) -> None:
        """Add a token drawn from logits (vocabulary), and the text that it completes."""
        if self._top is not None:
            self._scores.append(TokenScore(token, *logprobs_of(logits, token, self._top), self._length))
        self._length += len(text)

    def taken(self) -> list[TokenScore]:
        """Return the scores, and forget them."""
        scores, self._scores = self._scores, []
        return scores


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
