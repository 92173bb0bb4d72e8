"""A language model loaded into a runtime: tokens in, logits out, keys and values kept from one step to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from overwinter.inputs import Array, Inputs

_CANARY_TOKENS = 16  # enough to exercise every layer, few enough not to delay a wake


class KeyValueCache(Protocol):
    """Keys and values of the tokens that a session has read.

    Attributes:
        can_crop: whether `crop` works; sliding windows and recurrent states cannot go back. Such a cache can be copied
            by `copy.deepcopy` instead.
    """

    can_crop: bool

    def crop(self, count: int) -> None:
        """Remove the last ``count`` tokens."""


class LanguageSession(Protocol):
    """A language model loaded into a runtime. It is a `Session` too; dropping it closes it.

    Attributes:
        context_tokens: context length in tokens; `sys.maxsize` if it has no limit.
    """

    context_tokens: int

    def run(self, inputs: Inputs) -> Array:
        """Return logits of the next token (batch, vocabulary), float32, after tokens (batch, length), int64."""

    def logits(self, tokens: Array) -> Array:
        """Return logits at every position (batch, length, vocabulary), float32, of tokens (batch, length), int64."""

    def step(self, tokens: Array, kept: Any = None) -> tuple[Array, Any]:
        """Read tokens (batch, n) after those whose keys and values are in ``kept``.

        A session may have one cache only: that of the last step without ``kept``, which ends the earlier ones.

        Returns:
            Logits of the next token (batch, vocabulary), float32, and a `KeyValueCache`, which extends ``kept``.
        """

    def cache_to_arrays(self, kept: Any) -> Mapping[str, Array] | None:
        """Return a cache as arrays, to be stored; None if this one cannot be stored."""

    def cache_from_arrays(self, arrays: Mapping[str, Array]) -> Any:
        """Return the cache that `cache_to_arrays` stored, for the same model on the same runtime."""


class LanguageRuntime(Protocol):
    """The part of a runtime that runs language models: its optional attribute ``language``.

    Its methods are as of `overwinter.runtime.Runtime`, but `open` returns a `LanguageSession`.
    """

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why the runtime cannot run the language model that ``model.json`` describes, or None if it can."""

    def build(
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = "cpu"
    ) -> None:
        """Write the files for `open` to the existing folder ``out``, and check what the model writes against torch."""

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = "cpu") -> LanguageSession:
        """Load the files that `build` wrote."""


def canary_tokens(windows: Any) -> Any:
    """Return the first tokens of each window (windows, length), int64, as the canary of every wake."""
    return windows[:, :_CANARY_TOKENS].contiguous()
