"""A language model in OpenVINO, on the CPU: a graph that keeps its keys and values from one call to the next.

https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-request/stateful-models.html
Needs neither torch nor openvino-genai.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.inputs import Array, Inputs, named
from overwinter.runtime.openvino_session import import_openvino

GRAPH = "openvino_model.xml"
FROM = "logits_from"  # input: position of the first token whose logits are computed
CONTEXT = ("overwinter", "context_tokens")
PRECISION = ("overwinter", "precision")  # what the graph computes in wherever it runs: f32, or bf16
_HOLES = 1.25  # slots per token that counts


class OpenVinoCache:
    """Keys and values, which are the session's state: the session has one such cache.

    Cropped tokens stay in the state as holes, which attention does not see, until there are many: taking them out
    copies all keys and values, which took as long as three or four tokens.

    Attributes:
        seen: (slots,) for each token in the state whether it still counts.
    """

    can_crop = True

    def __init__(self, count: int = 0) -> None:
        self.seen = np.ones(count, dtype=bool)

    @property
    def count(self) -> int:
        """Tokens that were read and not cropped."""
        return int(self.seen.sum())

    def crop(self, count: int) -> None:
        """Remove the last tokens."""
        if count:
            self.seen[np.flatnonzero(self.seen)[-count:]] = False

    @property
    def has_many_holes(self) -> bool:
        """Whether it is worth the time to take the holes out."""
        return len(self.seen) > _HOLES * max(self.count, 1)


class OpenVinoLanguageSession:
    """A `LanguageSession` on OpenVINO.

    Args:
        folder: with the graph that `overwinter.runtime.openvino_graph` saved.
        threads: The number of threads that compute one output.

    Raises:
        ConfigError: OpenVINO is not installed.
        IntegrityError: OpenVINO cannot load the graph.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        if threads < 1:
            raise ConfigError(f"threads={threads} must be at least 1.")
        openvino = import_openvino()
        path = folder / GRAPH
        try:
            core = openvino.Core()
            model = core.read_model(path)
            self.context_tokens = int(model.get_rt_info(list(CONTEXT)).astype(int))
            compiled = core.compile_model(model, "CPU", _settings(threads, _precision(model)))
        except (RuntimeError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise IntegrityError(
                f"{path} cannot be loaded by OpenVINO {openvino.__version__}: {reason}\n"
                "Make it again with this version (`dvc repro`), or remove openvino from evaluate.runtimes."
            ) from None
        self._tensor = openvino.Tensor
        self._request = compiled.create_infer_request()
        self._current: OpenVinoCache | None = None

    def run(self, inputs: Inputs) -> Array:
        """Return logits of the next token (batch, vocabulary)."""
        (tokens,) = named(inputs).values()
        return self.step(tokens)[0]

    def logits(self, tokens: Array) -> Array:
        """Return logits at every position (batch, length, vocabulary)."""
        self._reset()
        found = self._infer(tokens, 0, np.ones(0, dtype=bool))
        self._reset()
        return found

    def step(self, tokens: Array, kept: OpenVinoCache | None = None) -> tuple[Array, OpenVinoCache]:
        """Read tokens (batch, n) after those in ``kept``."""
        if kept is None:
            self._reset()
            kept = OpenVinoCache()
        else:
            self._check(kept)
            if kept.has_many_holes:
                self._close_holes(kept)
        logits = self._infer(tokens, tokens.shape[1] - 1, kept.seen)
        kept.seen = np.append(kept.seen, np.ones(tokens.shape[1], dtype=bool))
        self._current = kept
        return logits[:, 0], kept

    def cache_to_arrays(self, kept: OpenVinoCache) -> dict[str, Array]:
        """Return keys and values by name, (batch, heads, tokens, width)."""
        self._check(kept)
        return {state.name: state.state.data[:, :, kept.seen] for state in self._request.query_state()}

    def cache_from_arrays(self, arrays: Mapping[str, Array]) -> OpenVinoCache:
        """Return the cache of stored keys and values."""
        for state in self._request.query_state():
            state.state = self._tensor(np.ascontiguousarray(arrays[state.name]))
        self._current = OpenVinoCache(next(iter(arrays.values())).shape[2])
        return self._current

    def _close_holes(self, kept: OpenVinoCache) -> None:
        if not kept.count:
            self._request.reset_state()
        else:
            self.cache_from_arrays(self.cache_to_arrays(kept))
        self._current, kept.seen = kept, np.ones(kept.count, dtype=bool)

    def _infer(self, tokens: Array, start: int, seen: Array) -> Array:
        """Return logits (batch, n - start, vocabulary) of tokens (batch, n) after those in the state (slots,)."""
        batch, length = tokens.shape
        known = int(seen.sum())
        mask = np.append(seen, np.ones(length, dtype=bool)).astype(np.int64)
        places = np.arange(known, known + length, dtype=np.int64)
        inputs = {
            "input_ids": tokens,
            "attention_mask": np.tile(mask, (batch, 1)),
            "position_ids": np.tile(places, (batch, 1)),
            "beam_idx": np.arange(batch, dtype=np.int32),
            FROM: np.array([start], dtype=np.int64),
        }
        # The output is a view of the request's memory, which the next call overwrites.
        logits: Array = self._request.infer(inputs, share_inputs=True)[0].copy()
        return logits

    def _reset(self) -> None:
        self._request.reset_state()
        self._current = None

    def _check(self, kept: OpenVinoCache) -> None:
        if kept is not self._current:
            raise OverwinterError("This cache has ended: the session has read another text since.")


def _precision(model: Any) -> str:
    """Return what a graph was made to compute in; on every CPU the same, or a bundle's canary would differ."""
    return model.get_rt_info(list(PRECISION)).astype(str) if model.has_rt_info(list(PRECISION)) else "f32"


def _settings(threads: int, precision: str) -> dict[str, Any]:
    """Return what was fastest without loss on x86 CPUs with AVX-512 (SmolLM2, one thread, 128 + 32 tokens).

    In float32, activations in 8 bits by groups of 32 take two thirds of the time, at a divergence of 0.004 nats; groups
    of 64 were no faster at 0.006. Keys and values in 8 bits were no faster than in float16, and less exact.
    """
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "KV_CACHE_PRECISION": "f16",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32,
    }
