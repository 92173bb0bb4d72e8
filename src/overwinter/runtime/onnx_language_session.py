"""A language model in ONNX Runtime on the CPU. Needs no torch.

Keys and values are in buffers that the graph's attention extends in place: each is bound both as what is past and as
what is present, so that a step copies none of them.
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.GroupQueryAttention
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # has no types

from overwinter.inputs import Array, Inputs, named
from overwinter.runtime.onnx_session import load_onnx

MODEL, WEIGHTS, SHAPE = "model.onnx", "model.onnx.data", "language.json"
_CHUNK = 128  # tokens by which the buffers grow
_ALL, _LAST = 0, -1  # positions from which logits are computed


class OnnxCache:
    """Keys and values of the tokens that were read.

    Attributes:
        can_crop: True: every token's are kept, also of layers that look at the last ones only.
        length: The number of tokens.
    """

    can_crop = True

    def __init__(self, session: OnnxLanguageSession, batch: int) -> None:
        self.length, self._room = 0, 0
        self._session, self._batch = session, batch
        self._buffers: dict[str, Array] = {}
        self._binding = session.new_binding()

    def crop(self, count: int) -> None:
        """Remove the last tokens; what is beyond the length is overwritten."""
        self.length -= count

    def read(self, tokens: Array, logits_from: int) -> Array:
        """Return logits (batch, positions, vocabulary) after reading tokens (batch, n)."""
        total = self.length + tokens.shape[1]
        self._reserve(total)
        logits = self._session.new_logits(self._batch, tokens.shape[1] if logits_from == _ALL else 1)
        self._binding.bind_cpu_input("input_ids", np.ascontiguousarray(tokens))
        self._binding.bind_cpu_input("attention_mask", np.ones((self._batch, total), dtype=np.int64))
        self._binding.bind_cpu_input("logits_from", np.array([logits_from]))
        self._binding.bind_ortvalue_output("logits", _shared(logits))
        self._session.run_bound(self._binding, every=logits_from == _ALL)
        self.length = total
        return logits

    def to_arrays(self) -> dict[str, Array]:
        """Return keys and values (batch, heads, length, head size) by the graph's names."""
        return {name: np.ascontiguousarray(buffer[:, :, : self.length]) for name, buffer in self._buffers.items()}

    def fill(self, arrays: Mapping[str, Array]) -> None:
        """Take over keys and values from `to_arrays`."""
        self.length = next(iter(arrays.values())).shape[2]
        self._make_room(self.length, arrays)

    def _reserve(self, total: int) -> None:
        if total > self._room:
            self._make_room(total, self._buffers)

    def _make_room(self, total: int, known: Mapping[str, Array]) -> None:
        """Make buffers for at least ``total`` tokens, and copy the keys and values that are known."""
        self._room = -(-total // _CHUNK) * _CHUNK
        made = {}
        for name, shape in self._session.cache_shapes(self._batch, self._room).items():
            made[name] = np.empty(shape, dtype=np.float32)
            if self.length:
                made[name][:, :, : self.length] = known[name][:, :, : self.length]
            value = _shared(made[name])
            self._binding.bind_ortvalue_input(f"past_key_values.{name}", value)
            self._binding.bind_ortvalue_output(f"present.{name}", value)
        self._buffers = made


class OnnxLanguageSession:
    """A `LanguageSession` on ONNX Runtime.

    Args:
        folder: what `OnnxLanguage.build` wrote.
        threads: The number of threads that compute one step.

    Raises:
        ConfigError: there is no thread.
        IntegrityError: ONNX Runtime cannot load the files.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        self._session = load_onnx(folder / MODEL, threads=threads)
        shape = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
        self._layers, self._heads, self._size = shape["layers"], shape["key_value_heads"], shape["head_size"]
        self._vocabulary = self._session.get_outputs()[0].shape[-1]
        self.context_tokens: int = shape["context_tokens"]

    def run(self, inputs: Inputs) -> Array:
        """Return logits of the next token (batch, vocabulary)."""
        (tokens,) = named(inputs).values()
        return self.step(tokens)[0]

    def logits(self, tokens: Array) -> Array:
        """Return logits at every position (batch, length, vocabulary)."""
        return OnnxCache(self, len(tokens)).read(tokens, _ALL)

    def step(self, tokens: Array, kept: OnnxCache | None = None) -> tuple[Array, OnnxCache]:
        """Read tokens (batch, n) after those in ``kept``."""
        cache = OnnxCache(self, len(tokens)) if kept is None else kept
        batch, count = tokens.shape
        # After others, attention reads several tokens at once of one sample only.
        parts = np.split(tokens, count, axis=1) if cache.length and batch > 1 else [tokens]
        logits = [cache.read(part, _LAST) for part in parts][-1]
        return logits[:, -1], cache

    def cache_to_arrays(self, kept: OnnxCache) -> dict[str, Array]:
        """Return keys and values, to be stored."""
        return kept.to_arrays()

    def cache_from_arrays(self, arrays: Mapping[str, Array]) -> OnnxCache:
        """Return the cache of stored keys and values."""
        cache = OnnxCache(self, len(next(iter(arrays.values()))))
        cache.fill(arrays)
        return cache

    def cache_shapes(self, batch: int, room: int) -> dict[str, tuple[int, int, int, int]]:
        """Return name -> shape of the buffers for ``room`` tokens."""
        shape = (batch, self._heads, room, self._size)
        return {f"{layer}.{kind}": shape for layer in range(self._layers) for kind in ("key", "value")}

    def new_binding(self) -> Any:
        """Return an empty binding of inputs and outputs."""
        return self._session.io_binding()

    def new_logits(self, batch: int, positions: int) -> Array:
        """Return an empty array for logits."""
        return np.empty((batch, positions, self._vocabulary), dtype=np.float32)

    def run_bound(self, binding: Any, *, every: bool) -> None:
        """Compute the bound outputs; ``every``: at every position, after which the memory for that is given back."""
        self._session.run_with_iobinding(binding, _giving_back() if every else None)


def _giving_back() -> Any:
    """Return options of a run that frees what its arena has grown by: gigabytes with a vocabulary of 262,144.

    https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_run_options_config_keys.h
    """
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _shared(values: Array) -> Any:
    """Return a tensor of ONNX Runtime in the memory of an array."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(values)
