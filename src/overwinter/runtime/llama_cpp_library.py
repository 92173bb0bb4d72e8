"""llama.cpp as the package llama-cpp-python carries it: its C functions, quiet, with pointers that free themselves.

https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h
"""

from __future__ import annotations

import collections
import ctypes
import functools
import importlib
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.inputs import Array

_ERROR = 4  # ggml_log_level
_TEXT = 0  # the only sequence of a context
_COMPLAINTS: collections.deque[str] = collections.deque(maxlen=8)


@functools.cache
def import_llama_cpp() -> Any:
    """Import the library, and keep what it logs for the case that it fails.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        library = importlib.import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"The runtime `llama-cpp` needs llama-cpp-python: {error}.\n`pip install 'overwinter[llama-cpp]'`, which "
            "compiles for some minutes, or remove it from evaluate.runtimes."
        ) from None
    library.llama_log_set(_logged(library), None)
    library.llama_backend_init()
    return library


@functools.cache
def _logged(library: Any) -> Any:
    """Return the function that the library logs to; cached, because the library keeps no reference to it."""

    @library.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
    def keep(level: int, text: bytes, _: Any) -> None:
        if level == _ERROR:
            _COMPLAINTS.append(" ".join(text.decode(errors="replace").split()))

    return keep


def complaint() -> str:
    """Return the first thing that the library complained about, the cause of what follows, and forget all of it."""
    first = _COMPLAINTS[0] if _COMPLAINTS else "it gives no reason"
    _COMPLAINTS.clear()
    return first.rstrip(".")[:300]


class LlamaCppModel:
    """A model in memory, mapped from its file.

    Args:
        path: a GGUF file.

    Attributes:
        trained_tokens: the context length that it was trained for.
        words: the number of tokens in its vocabulary.
        goes_back: whether the last tokens can be removed from its keys and values: recurrent states cannot.

    Raises:
        ConfigError: the library is not installed.
        IntegrityError: it cannot load the file.
    """

    def __init__(self, path: Path) -> None:
        self.library = library = import_llama_cpp()
        _COMPLAINTS.clear()
        settings = library.llama_model_default_params()
        settings.n_gpu_layers = 0
        self.pointer = library.llama_model_load_from_file(str(path).encode(), settings) if path.is_file() else None
        if not self.pointer:
            reason = complaint() if path.is_file() else "there is no such file"
            raise IntegrityError(
                f"{path} cannot be loaded by llama.cpp (llama-cpp-python {library.__version__}): {reason}.\n"
                "Make it again (`dvc repro`), or remove llama-cpp from evaluate.runtimes."
            )
        weakref.finalize(self, library.llama_model_free, self.pointer)
        self.trained_tokens = int(library.llama_model_n_ctx_train(self.pointer))
        self.words = int(library.llama_vocab_n_tokens(library.llama_model_get_vocab(self.pointer)))
        recurs = (library.llama_model_is_recurrent, library.llama_model_is_hybrid)
        self.goes_back = not any(asked(self.pointer) for asked in recurs)


class LlamaCppContext:
    """Room for the keys and values of one text.

    Args:
        model: the model.
        room_tokens: the number of tokens of the text that there is room for.
        threads: the number of threads that compute.
        outputs: the largest number of positions whose logits are wanted at once.

    Raises:
        OverwinterError: there is not enough memory.
    """

    def __init__(self, model: LlamaCppModel, room_tokens: int, *, threads: int, outputs: int = 1) -> None:
        _COMPLAINTS.clear()
        self._model, self._library, self.room_tokens = model, model.library, room_tokens
        settings = self._library.llama_context_default_params()
        settings.n_ctx = settings.n_batch = room_tokens
        settings.n_outputs_max = settings.n_outputs_max_per_seq = outputs
        settings.n_threads = settings.n_threads_batch = threads
        self._pointer = self._library.llama_init_from_model(model.pointer, settings)
        if not self._pointer:
            raise OverwinterError(f"llama.cpp has no room for {room_tokens} tokens: {complaint()}.")
        weakref.finalize(self, self._library.llama_free, self._pointer)
        self._memory = self._library.llama_get_memory(self._pointer)

    def read(self, tokens: Array, *, every: bool = False) -> Array:
        """Read tokens (n,) after those that were read; return the last one's logits (1, vocabulary), or every one's.

        Raises:
            OverwinterError: a token is not in the vocabulary, or the text does not fit.
        """
        _COMPLAINTS.clear()
        values = np.ascontiguousarray(tokens, dtype=np.int32)
        wanted = np.ones(len(values), dtype=np.int8)
        batch = self._library.llama_batch_get_one(_pointer_to(values, self._library.llama_token), len(values))
        if every:
            batch.logits = _pointer_to(wanted, ctypes.c_int8)
        code = self._library.llama_decode(self._pointer, batch)
        if code != 0:
            raise OverwinterError(f"llama.cpp cannot read {len(values)} tokens (code {code}): {complaint()}.")
        found = self._library.llama_get_logits(self._pointer) if every else self._last()
        count = len(values) if every else 1
        # A view of the context's memory, which the next call overwrites.
        logits: Array = np.ctypeslib.as_array(found, shape=(count, self._model.words)).copy()
        return logits

    def forget(self, kept: int = 0) -> None:
        """Remove all tokens after the first ``kept``.

        Raises:
            OverwinterError: the model's state cannot go back to there.
        """
        if not self._library.llama_memory_seq_rm(self._memory, _TEXT, kept, -1):
            raise OverwinterError(f"This model's state cannot go back to its first {kept} tokens; read them again.")

    def state(self) -> Array:
        """Return the keys and values as bytes."""
        found = np.empty(self._library.llama_state_seq_get_size(self._pointer, _TEXT), dtype=np.uint8)
        self._library.llama_state_seq_get_data(self._pointer, _bytes_of(found), len(found), _TEXT)
        return found

    def restore(self, state: Array) -> None:
        """Take keys and values that `state` returned.

        Raises:
            IntegrityError: they are another model's, another version's, or damaged.
        """
        self.forget()
        _COMPLAINTS.clear()
        state = np.ascontiguousarray(state)
        if not self._library.llama_state_seq_set_data(self._pointer, _bytes_of(state), len(state), _TEXT):
            raise IntegrityError(
                f"llama.cpp cannot take the stored keys and values: {complaint()}. Read the text again."
            )

    def _last(self) -> Any:
        return self._library.llama_get_logits_ith(self._pointer, -1)


def _bytes_of(values: Array) -> Any:
    return _pointer_to(values, ctypes.c_uint8)


def _pointer_to(values: Array, kind: Any) -> Any:
    return values.ctypes.data_as(ctypes.POINTER(kind))
