"""The runtime `torch`: the module itself, in eager mode."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.models import load_description, load_model
from overwinter.runtime.served_layers import in_float32
from overwinter.serving import Session
from overwinter.serving.session import Array

_WEIGHTS = "weights.safetensors"
_DESCRIPTION = "model.json"


class TorchRuntime:
    """Eager torch on the CPU."""

    name = "torch"

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why torch cannot run this form: it needs a module's weights."""
        return None if _WEIGHTS in description["files"] else "it is an ONNX graph, not a torch module"

    def build(self, model_folder: Path, out: Path, *, trusted: Sequence[str]) -> None:  # noqa: ARG002 -- runs no code
        """Copy the saved model: it is what torch runs."""
        for name in [*load_description(model_folder)["files"], _DESCRIPTION]:
            shutil.copyfile(model_folder / name, out / name)

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> Session:
        """Rebuild the module. The number of threads holds for the whole process: torch has one pool."""
        torch.set_num_threads(threads)
        return TorchSession(self.load(folder, trusted=trusted))

    def load(self, folder: Path, *, trusted: Sequence[str]) -> nn.Module:
        """Rebuild the module as it is served, from a saved model or from what `build` wrote."""
        return in_float32(load_torch_form(folder, trusted=trusted))


class TorchSession:
    """A `Session` on a module in evaluation mode."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def run(self, inputs: Array) -> Array:
        """Return logits (batch, classes) as float32 of model inputs (batch, ...) as float32."""
        with torch.inference_mode():
            answers: Array = self._model(torch.from_numpy(inputs)).numpy()
        return answers


def load_torch_form(folder: Path, *, trusted: Sequence[str]) -> nn.Module:
    """Rebuild a saved torch model, also one with integer layers or torchao's, on the CPU and in evaluation mode."""
    quantization = load_description(folder)["quantization"]
    if quantization is None or "layers" in quantization:
        return load_model(folder, trusted=trusted)
    from overwinter.runtime.torchao_storage import load_torchao

    return load_torchao(folder, trusted=trusted)
