"""The runtime `torch-compile`: the module compiled by torch's inductor with its weights frozen, for the CPU or a GPU.

The bundle holds the module, not machine code, so it stays loadable anywhere; compiling is part of opening it and
takes seconds to half a minute, and a C++ compiler (on a GPU too, for what launches the kernels). Inductor's settings
are changed only while it compiles.
https://docs.pytorch.org/docs/stable/torch.compiler.html
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from overwinter.errors import ConfigError, IntegrityError
from overwinter.inputs import INPUT, Inputs, named, take, to_arrays, to_tensors, unnamed
from overwinter.models import load_description, signature_of
from overwinter.runtime.device import CPU, gpu_tolerance, needed_device, on_gpu, torch_device_refusal
from overwinter.runtime.examples import expected_outputs
from overwinter.runtime.output_check import check_outputs
from overwinter.runtime.session import Session
from overwinter.runtime.torch_runtime import TORCH_PACKAGES, TorchRuntime, load_torch_variant, moved, torch_session
from overwinter.signature import Signature

TOLERANCE = 1e-4  # of a float model's outputs against eager torch's, relative to the largest logit
# Roundings that fall on the other side of a step of 1/255, in layer after layer.
QUANTIZED_TOLERANCE = 0.05
_COMPILERS = ("g++", "c++", "clang++")
_EXAMPLES = "examples.safetensors"  # one sample, with which the module is compiled when it is opened
_INPUTS = "inputs"  # the name there of an only input


class TorchCompileRuntime:
    """Compiled torch."""

    name = "torch-compile"
    packages = TORCH_PACKAGES
    compiles = True

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why it cannot run this variant, or that there is no C++ compiler here."""
        return TorchRuntime().refusal(description) or missing_compiler()

    def device_refusal(self, device: str) -> str | None:
        """Return why torch cannot compute on this device here."""
        return torch_device_refusal(device)

    def build(
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = CPU
    ) -> None:
        """Copy the saved model, and check the compiled module's answers against eager torch's on the CPU."""
        TorchRuntime().build(model_folder, out, examples=examples, trusted=trusted)
        _save_example(out, examples)
        description = load_description(model_folder)
        tolerance = TOLERANCE if description["quantization"] is None else QUANTIZED_TOLERANCE
        # What no CPU computes is compared on the device that does.
        eager = torch_session(load_torch_variant(out, trusted=trusted), device if needed_device(description) else CPU)
        with on_gpu(f"the runtime {self.name!r}", device):
            check_outputs(
                self.open(out, threads=torch.get_num_threads(), trusted=trusted, device=device),
                eager,
                examples,
                signature=signature_of(description),
                tolerance=tolerance if device == CPU else gpu_tolerance(description),
                who="The compiled module's outputs differ from torch's",
                remedy="Remove torch-compile from evaluate.runtimes.",
            )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = CPU) -> Session:
        """Rebuild and compile the module. The number of threads holds for the whole process."""
        reason = missing_compiler()
        if reason is not None:
            raise ConfigError(f"The runtime 'torch-compile' cannot run here: {reason}.")
        torch.set_num_threads(threads)
        model = moved(load_torch_variant(folder, trusted=trusted), device)
        signature = signature_of(load_description(folder))
        return torch_session(_compiled(model, _load_example(folder), signature, device), device)


def missing_compiler() -> str | None:
    """Return that there is no C++ compiler, or None if there is one."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else _COMPILERS
    if any(shutil.which(name) for name in wanted):
        return None
    return f"torch compiles through a C++ compiler, and none of {', '.join(wanted)} is installed"


def _compiled(model: nn.Module, example: Inputs, signature: Signature, device: str) -> nn.Module:
    """Compile for every batch on which outputs are compared, so that serving compiles nothing more."""
    import torch._inductor.config as inductor

    compiled: nn.Module = torch.compile(model, dynamic=True)  # type: ignore[assignment]  # a module for a module
    given = [inputs for inputs, _ in expected_outputs(torch_session(model, device).run, example, signature)]
    with torch.inference_mode(), inductor.patch(freezing=True):
        for inputs in given:
            compiled(to_tensors(inputs, device))
    return compiled


def _save_example(folder: Path, examples: Inputs) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in named(to_tensors(take(examples, slice(1)))).items()}
    save_file({_INPUTS: tensors[INPUT]} if set(tensors) == {INPUT} else tensors, folder / _EXAMPLES)


def _load_example(folder: Path) -> Inputs:
    try:
        tensors = load_file(folder / _EXAMPLES)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{folder / _EXAMPLES} cannot be read: {error}. Build it again.") from None
    return to_arrays(unnamed({INPUT if name == _INPUTS else name: tensor for name, tensor in tensors.items()}))
