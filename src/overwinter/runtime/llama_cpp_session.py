"""A GGUF file in llama.cpp, on the CPU: the extra `llama-cpp`. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import Array, Inputs, named
from overwinter.runtime.llama_cpp_library import LlamaCppContext, LlamaCppModel

_LEAST_TOKENS = 512  # room of the first context
_WRITTEN_TOKENS = 256  # room after a prompt; llama.cpp rounds up to multiples of this
_STATE, _COUNT = "state", "tokens"


class LlamaCppCache:
    """Keys and values of the tokens read, which the session's context holds.

    Attributes:
        count: the number of tokens.
        can_crop: whether `crop` works: recurrent states cannot go back.
        state: a copy of keys and values; None while only the context holds them.
    """

    def __init__(self, session: LlamaCppSession, count: int, state: Array | None = None) -> None:
        self._session, self.count, self.state = session, count, state
        self.can_crop = session.can_crop

    def crop(self, count: int) -> None:
        """Remove the last tokens."""
        if count:
            self._session.go_back(self, self.count - count)

    def __deepcopy__(self, _: Any) -> LlamaCppCache:
        """Return a copy: both get the keys and values as bytes, so that each can be read on from."""
        self.state = self._session.state_of(self)
        return LlamaCppCache(self._session, self.count, self.state)


class LlamaCppSession:
    """A `LanguageSession` on llama.cpp, of one text at a time; room for longer texts is made as they grow.

    Args:
        path: the GGUF file, which is mapped.
        threads: the number of threads that compute.

    Raises:
        ConfigError: llama-cpp-python is not installed.
        IntegrityError: it cannot load the file.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        if threads < 1:
            raise ConfigError(f"threads={threads} must be at least 1.")
        self._model, self._threads = LlamaCppModel(path), threads
        self.context_tokens, self.can_crop = self._model.trained_tokens, self._model.goes_back
        self._context: LlamaCppContext | None = None
        self._held: LlamaCppCache | None = None  # whose keys and values the context holds

    def run(self, inputs: Inputs) -> Array:
        """Return logits of the next token (batch, vocabulary), of one text after the other."""
        (tokens,) = named(inputs).values()
        return np.concatenate([self.step(text[None])[0] for text in tokens])

    def logits(self, tokens: Array) -> Array:
        """Return logits at every position (batch, length, vocabulary); the cache stays as it is."""
        length = tokens.shape[1]
        # Of its own: it has room for all positions' logits, a hundred times what serving needs.
        context = LlamaCppContext(self._model, length, threads=self._threads, outputs=length)
        found = []
        for text in tokens:
            context.forget()
            found.append(context.read(text, every=True))
        return np.stack(found)

    def step(self, tokens: Array, kept: LlamaCppCache | None = None) -> tuple[Array, LlamaCppCache]:
        """Read tokens (1, n) after those in ``kept``, of which there is one at a time."""
        (text,) = tokens
        count = (0 if kept is None else kept.count) + len(text)
        context = self._with_room(count, kept)
        self._held = None  # until the text is read: a failure leaves no cache
        logits = context.read(text)
        if kept is None:
            kept = LlamaCppCache(self, count)
        kept.count, kept.state, self._held = count, None, kept
        return logits, kept

    def cache_to_arrays(self, kept: LlamaCppCache) -> dict[str, Array]:
        """Return llama.cpp's own bytes of a text's keys and values."""
        return {_STATE: self.state_of(kept), _COUNT: np.array([kept.count])}

    def cache_from_arrays(self, arrays: Mapping[str, Array]) -> LlamaCppCache:
        """Return the cache that was stored; the context takes it at the next step."""
        return LlamaCppCache(self, int(arrays[_COUNT][0]), arrays[_STATE])

    def state_of(self, cache: LlamaCppCache) -> Array:
        """Return a cache's keys and values as bytes.

        Raises:
            OverwinterError: another text was read since.
        """
        if cache.state is not None:
            return cache.state
        return self._holding(cache).state()

    def go_back(self, cache: LlamaCppCache, count: int) -> None:
        """Keep the first tokens only."""
        self._with_room(cache.count, cache).forget(count)
        cache.count, cache.state, self._held = count, None, cache

    def _holding(self, cache: LlamaCppCache) -> LlamaCppContext:
        if self._context is None or self._held is not cache:
            raise OverwinterError("These keys and values are gone: another text was read since. Read the prompt again.")
        return self._context

    def _with_room(self, count: int, kept: LlamaCppCache | None) -> LlamaCppContext:
        """Return a context with room for ``count`` tokens that holds ``kept``, or nothing."""
        context = self._context
        if context is not None and context.room_tokens >= count and self._held is kept is not None:
            return context
        state = None if kept is None else self.state_of(kept)
        if context is None or context.room_tokens < count:
            self._context = self._held = None  # freed before the larger one is made
            del context
            room = self._room(count, growing=kept is not None)
            context = self._context = LlamaCppContext(self._model, room, threads=self._threads)
        if state is None:
            context.forget()
        else:
            context.restore(state)
            self._held = kept
        return context

    def _room(self, count: int, *, growing: bool) -> int:
        """Return the room for a text: some more than it needs, and twice as much for one that has outgrown its room."""
        room = max(_LEAST_TOKENS, count + _WRITTEN_TOKENS, 2 * count if growing else 0)
        within = max(count, min(room, self.context_tokens))
        return -(-within // _WRITTEN_TOKENS) * _WRITTEN_TOKENS
