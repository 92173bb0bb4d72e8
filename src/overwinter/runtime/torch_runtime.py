"""The runtime `torch`: the module itself, in eager mode."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.inputs import Inputs, to_tensors
from overwinter.models import load_description, load_model, signature_of
from overwinter.models.description import is_language_model
from overwinter.models.given import is_given
from overwinter.runtime.device import CPU, gpu_tolerance, needed_device, on_gpu, torch_device_refusal
from overwinter.runtime.output_check import check_outputs
from overwinter.runtime.served_layers import in_float32
from overwinter.runtime.session import Array, Session
from overwinter.runtime.torch_language import TorchLanguage

TORCH_PACKAGES = ("onnx", "onnxruntime", "torch", "torchao")  # onnx: in addition to the imports of torch-compile
_WEIGHTS = "weights.safetensors"
_DESCRIPTION = "model.json"


class TorchRuntime:
    """Eager torch, on the CPU or a GPU."""

    name = "torch"
    packages = TORCH_PACKAGES
    compiles = True
    converts = False

    @property
    def language(self) -> TorchLanguage:
        """Runs language models."""
        return TorchLanguage(self)

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why torch cannot run this variant: it needs a module's weights."""
        if is_given(description):
            return "it is the GGUF file as it was given, of which torch would compute what dense computes"
        return None if _WEIGHTS in description["files"] else "it is an ONNX graph, not a torch module"

    def device_refusal(self, device: str) -> str | None:
        """Return why torch cannot compute on this device here."""
        return torch_device_refusal(device)

    def build(
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = CPU
    ) -> None:
        """Copy the saved model, which torch runs unchanged; check outputs on a GPU against the CPU's."""
        for name in [*load_description(model_folder)["files"], _DESCRIPTION]:
            shutil.copyfile(model_folder / name, out / name)
        if device != CPU:
            self._check(out, examples, trusted, device)

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = CPU) -> Session:
        """Rebuild the module. The number of threads applies to the whole process: torch has one pool."""
        torch.set_num_threads(threads)
        return torch_session(self.load(folder, trusted=trusted), device)

    def load(self, folder: Path, *, trusted: Sequence[str], device: str = CPU) -> nn.Module:
        """Rebuild the module for serving, from a saved model or from the files that `build` wrote."""
        return moved(in_float32(load_torch_variant(folder, trusted=trusted)), device)

    def _check(self, folder: Path, examples: Inputs, trusted: Sequence[str], device: str) -> None:
        description = load_description(folder)
        # A language model's outputs are compared at evaluation, on all of its text; some variants cannot run on a CPU.
        if needed_device(description) is not None or is_language_model(description):
            return
        here, there = (torch_session(self.load(folder, trusted=trusted), each) for each in (CPU, device))
        with on_gpu(f"the runtime {self.name!r}", device):
            check_outputs(
                there,
                here,
                examples,
                signature=signature_of(description),
                tolerance=gpu_tolerance(description),
                who=f"On {device} the outputs differ from the CPU's",
                remedy="Set device=auto.",
            )


class TorchSession:
    """A `Session` on a module in evaluation mode."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def run(self, inputs: Inputs) -> Array:
        """Return the output (batch, ...), float32, of inputs (batch, ...)."""
        with torch.inference_mode():
            outputs: Array = self._model(to_tensors(inputs)).float().numpy()
        return outputs


class GpuSession:
    """A `Session` on a module on a GPU.

    `run` returns when the outputs are in the host's memory, so its time includes both copies, as in a server, and the
    device's queue is empty.

    Args:
        model: module on ``device``, in evaluation mode.
        device: device, such as `cuda:0`.
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        self._model, self._device = model, torch.device(device)

    def run(self, inputs: Inputs) -> Array:
        """Return the output (batch, ...), float32, of inputs (batch, ...), both on the host."""
        with torch.inference_mode():
            outputs: Array = self._model(to_tensors(inputs, self._device)).float().cpu().numpy()
        return outputs


def moved(model: nn.Module, device: str) -> nn.Module:
    """Return a module, loaded on the CPU, moved to its device."""
    return model if device == CPU else model.to(device)


def torch_session(model: nn.Module, device: str) -> Session:
    """Return a `Session` on a module, which is moved to the device."""
    return TorchSession(model) if device == CPU else GpuSession(moved(model, device), device)


def load_torch_variant(folder: Path, *, trusted: Sequence[str]) -> nn.Module:
    """Rebuild a saved torch model, also one with integer layers or torchao's, on the CPU and in evaluation mode."""
    quantization = load_description(folder)["quantization"]
    if quantization is None or "layers" in quantization:
        return load_model(folder, trusted=trusted)
    from overwinter.runtime.torchao_storage import load_torchao

    return load_torchao(folder, trusted=trusted)
