"""A quantization method, a runtime and a measure of quality in a package outside Overwinter."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from overwinter import models, quantization, runtime

_GRID = models.Grid(bits=6, group_size=32)


class Int6:
    """6-bit weights in groups of 32, rounded to nearest, in Overwinter's integer layers."""

    def quantize(self, request: quantization.Request) -> quantization.QuantizationReport:
        """Write the variant into ``request.out``; see `overwinter.quantization.Quantizer`."""
        model = request.model
        layers = {name: layer for name, layer in model.named_modules() if models.integer_type(layer)}
        zeros = [_zeros(layer.weight) for layer in layers.values()]
        quantization.apply_recipe(model, quantization.Recipe(solver="nearest", grid=_GRID), list(layers))
        saved = models.save_model(
            request.out,
            model,
            variant="int6",
            model_config=request.description["model"],
            signature=models.signature_of(request.description),
            lineage=request.lineage,
            quantization={"method": "int6", "left_in_float": {}, "untied": []},
        )
        return quantization.QuantizationReport(
            quantized=tuple(layers),
            left_in_float={},
            zeros_before=sum(zeros),
            zeros_after=sum(_zeros(layer.weight()) for layer in models.integer_layers(model).values()),
            size_bytes=models.stored_bytes(saved),
            float_size_bytes=models.stored_bytes(request.description),
        )


def _zeros(weight: torch.Tensor) -> int:
    return int((weight == 0).sum())


class ChannelsLastRuntime:
    """Torch with images in the channels-last memory format, on the CPU only; it takes no ``device``."""

    name = "channels-last"

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return the reason why it cannot run the variant of this ``model.json``, or None if it can."""
        if description["quantization"] is not None:
            return "it runs float models only"
        return None if len(models.signature_of(description).sample_shape) == 3 else "it runs models of images only"

    def build(self, model_folder: Path, out: Path, *, examples: NDArray[np.float32], trusted: Sequence[str]) -> None:
        """Write the files for `open`, and check that the outputs equal torch's."""
        shutil.copytree(model_folder, out, dirs_exist_ok=True)
        runtime.check_outputs(
            self.open(out, threads=1, trusted=trusted),
            _Outputs(models.load_model(model_folder, trusted=trusted), torch.contiguous_format),
            examples,
            signature=models.signature_of(models.load_description(out)),
            tolerance=1e-4,
            who="Outputs with channels last differ from torch's",
            remedy="Remove channels-last from evaluate.runtimes.",
        )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> runtime.Session:
        """Load the model as a session."""
        torch.set_num_threads(threads)
        return _Outputs(models.load_model(folder, trusted=trusted), torch.channels_last)


class _Outputs:
    def __init__(self, model: nn.Module, layout: torch.memory_format) -> None:
        self._model = model.eval().to(memory_format=layout)  # type: ignore[call-overload]  # torch declares no such one
        self._layout = layout

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (batch, classes) of inputs (batch, ...)."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self._model(
                torch.from_numpy(inputs).contiguous(memory_format=self._layout)
            ).numpy()
        return logits


class TopShare:
    """Share of samples whose class is among the ``count`` most probable. Higher is better."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        """Return the share for logits (n, classes) and labels (n,)."""
        most_probable = np.argsort(-logits, axis=1)[:, : self._count]
        return float((most_probable == labels[:, None]).any(axis=1).mean())
