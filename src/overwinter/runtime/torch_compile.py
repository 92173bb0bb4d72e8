"""The runtime `torch-compile`: the module compiled by torch's inductor with its weights frozen, on the CPU.

The bundle holds the module, not machine code, so it stays loadable anywhere; compiling is part of opening it and
takes seconds to half a minute, and a C++ compiler. Inductor's settings are changed only while it compiles.
https://docs.pytorch.org/docs/stable/torch.compiler.html
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import load_description
from overwinter.runtime.onnx_export import example_inputs
from overwinter.runtime.torch_runtime import TorchRuntime, TorchSession, load_torch_form
from overwinter.serving import Session, largest_difference

TOLERANCE = 1e-4  # of a float model's answers against eager torch's, relative to the largest logit
# Roundings that fall on the other side of a step of 1/255, in layer after layer.
QUANTIZED_TOLERANCE = 0.05
_COMPILERS = ("g++", "c++", "clang++")
_BATCHES = (1, 5)  # inductor compiles one program for a batch of one and another for all larger ones


class TorchCompileRuntime:
    """Compiled torch on the CPU."""

    name = "torch-compile"

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why it cannot run this form, or that there is no C++ compiler here."""
        return TorchRuntime().refusal(description) or missing_compiler()

    def build(self, model_folder: Path, out: Path, *, trusted: Sequence[str]) -> None:
        """Copy the saved model, and check the compiled module's answers against eager torch's."""
        TorchRuntime().build(model_folder, out, trusted=trusted)
        description = load_description(model_folder)
        tolerance = TOLERANCE if description["quantization"] is None else QUANTIZED_TOLERANCE
        eager = TorchSession(load_torch_form(out, trusted=trusted))
        compiled = self.open(out, threads=torch.get_num_threads(), trusted=trusted)
        for batch in _BATCHES:
            inputs = example_inputs(description["input_shape"], batch)
            difference = largest_difference(compiled.run(inputs), eager.run(inputs))
            if difference > tolerance:
                raise OverwinterError(
                    f"The compiled module's answers differ from torch's by {difference:.2g} of the largest logit; "
                    f"allowed are {tolerance:g}. Take torch-compile out of evaluate.runtimes."
                )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> Session:
        """Rebuild and compile the module. The number of threads holds for the whole process."""
        reason = missing_compiler()
        if reason is not None:
            raise ConfigError(f"The runtime 'torch-compile' cannot run here: {reason}.")
        torch.set_num_threads(threads)
        model = load_torch_form(folder, trusted=trusted)
        return TorchSession(_compiled(model, load_description(folder)["input_shape"]))


def missing_compiler() -> str | None:
    """Return that there is no C++ compiler, or None where there is one."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else _COMPILERS
    if any(shutil.which(name) for name in wanted):
        return None
    return f"torch compiles through a C++ compiler, and none of {', '.join(wanted)} is installed"


def _compiled(model: nn.Module, input_shape: Sequence[int]) -> nn.Module:
    import torch._inductor.config as inductor

    compiled: nn.Module = torch.compile(model, dynamic=True)  # type: ignore[assignment]  # a module for a module
    with torch.inference_mode(), inductor.patch(freezing=True):
        for batch in _BATCHES:
            compiled(torch.from_numpy(example_inputs(input_shape, batch)))
    return compiled
