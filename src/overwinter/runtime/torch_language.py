"""Language models on torch's runtimes: transformers' module in eager mode, with its cache of keys and values."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from overwinter.errors import ConfigError
from overwinter.inputs import Array, Inputs, named
from overwinter.models import CausalLanguageModel, load_description
from overwinter.models.given import GIVEN_FILE, is_given
from overwinter.runtime.device import CPU

if TYPE_CHECKING:
    from overwinter.runtime.language_session import LanguageSession
    from overwinter.runtime.torch_runtime import TorchRuntime

# transformers' cache of a layer that keeps every token; a sliding window or a recurrent state cannot go back.
_WHOLE = "DynamicLayer"


def as_module(folder: Path, *, trusted: Sequence[str]) -> CausalLanguageModel:
    """Return any variant as a module, to compare another runtime with: a file as it was given is dequantized."""
    from overwinter.models import load_model, pretrained  # what a server does not need

    given = is_given(load_description(folder))
    model = pretrained(root=str(folder / GIVEN_FILE)) if given else load_model(folder, trusted=trusted)
    return cast(CausalLanguageModel, model.eval())


class TorchLanguage:
    """A `LanguageRuntime` of one of torch's runtimes, which generates with the saved model as it is."""

    def __init__(self, runtime: TorchRuntime) -> None:
        self._runtime = runtime

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why the runtime cannot run this variant."""
        return self._runtime.refusal(description)

    def build(
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = CPU
    ) -> None:
        """Copy the saved model, as the runtime does."""
        self._runtime.build(model_folder, out, examples=examples, trusted=trusted, device=device)

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = CPU) -> LanguageSession:
        """Load a saved model, or what `build` wrote; the number of threads applies to the whole process."""
        torch.set_num_threads(threads)
        model = self._runtime.load(folder, trusted=trusted, device=device)
        if not isinstance(model, CausalLanguageModel):
            raise ConfigError(
                f"{folder} holds a {type(model).__name__}, which does not generate text step by step, as "
                "model=huggingface does."
            )
        return TorchLanguageSession(model)


class TorchCache:
    """transformers' cache of keys and values.

    Attributes:
        can_crop: whether all layers keep every token.
    """

    def __init__(self, values: Any) -> None:
        self.values = values
        self.can_crop = all(type(layer).__name__ == _WHOLE for layer in self.layers)

    @property
    def layers(self) -> Sequence[Any]:
        """Each block's keys and values."""
        return getattr(self.values, "layers", ())

    def crop(self, count: int) -> None:
        """Remove the last tokens."""
        if count:
            self.values.crop(-count)  # negative: the number of tokens to remove


class TorchLanguageSession:
    """A `LanguageSession` on a module.

    Args:
        model: model in evaluation mode, on any device; tokens and logits are on the host.
    """

    def __init__(self, model: CausalLanguageModel) -> None:
        parameter = next(model.parameters())
        self._model, self._device, self._dtype = model, parameter.device, parameter.dtype
        self.context_tokens = model.context_tokens or sys.maxsize

    def run(self, inputs: Inputs) -> Array:
        """Return logits of the next token (batch, vocabulary)."""
        (tokens,) = named(inputs).values()
        return self.step(tokens)[0]

    def logits(self, tokens: Array) -> Array:
        """Return logits at every position (batch, length, vocabulary)."""
        with torch.inference_mode():
            logits: Array = self._model(torch.from_numpy(tokens).to(self._device)).cpu().numpy()
        return logits

    def step(self, tokens: Array, kept: TorchCache | None = None) -> tuple[Array, TorchCache]:
        """Read tokens (batch, n) after those in ``kept``."""
        with torch.inference_mode():
            given = torch.from_numpy(tokens).to(self._device)
            logits, values = self._model.step(given, None if kept is None else kept.values)
        return logits.cpu().numpy(), TorchCache(values)

    def cache_to_arrays(self, kept: TorchCache) -> dict[str, Array] | None:
        """Return keys and values by block as bytes, since numpy has no bfloat16; None where one cannot be restored."""
        if not kept.layers or not kept.can_crop:
            return None
        return {
            f"{place}.{name}": getattr(layer, name).contiguous().cpu().view(torch.uint8).numpy()
            for place, layer in enumerate(kept.layers)
            for name in ("keys", "values")
        }

    def cache_from_arrays(self, arrays: Mapping[str, Array]) -> TorchCache:
        """Return the cache of stored keys and values."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for place in range(len(arrays) // 2):
            keys, values = (
                torch.from_numpy(arrays[f"{place}.{name}"]).view(self._dtype).to(self._device)
                for name in ("keys", "values")
            )
            cache.update(keys, values, place)
        return TorchCache(cache)
