"""The runtime `onnxruntime`: exports a module, float or with integer layers, and runs an ONNX variant unchanged.

Opening a session needs no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.models import load_description
from overwinter.runtime.device import CPU, gpu_tolerance
from overwinter.runtime.examples import compared_inputs
from overwinter.runtime.onnx_session import OnnxSession
from overwinter.runtime.output_check import check_outputs, finite
from overwinter.runtime.session import Array, Session, largest_difference

if TYPE_CHECKING:
    from torch import nn

MODEL = "model.onnx"
GPU_PROVIDER = "CUDAExecutionProvider"
TOLERANCE = 1e-4  # for outputs compared with torch's, relative to the largest logit; float32 kernels differ by 1e-6
# For integer layers: values rounded to the neighbouring step of 1/255, in every layer.
INTEGER_TOLERANCE = 0.05


class OnnxRuntime:
    """ONNX Runtime, on the CPU, or on a GPU with the package onnxruntime-gpu."""

    name = "onnxruntime"
    packages = ("onnxruntime",)
    packages_for_gpu = False

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why ONNX Runtime cannot run this variant: it runs ONNX files and torch models, not torchao's."""
        if MODEL in description["files"] or description["quantization"] is None:
            return None
        if "layers" in description["quantization"]:
            return _refused_layers(description["quantization"]["layers"])
        return "its weights are quantized in torchao's format, which ONNX Runtime has no kernels for"

    def device_refusal(self, device: str) -> str | None:  # noqa: ARG002 -- opening the session checks which GPU
        """Return that this build of ONNX Runtime computes on the CPU only, or None."""
        import onnxruntime  # type: ignore[import-untyped]  # has no types

        if GPU_PROVIDER in onnxruntime.get_available_providers():
            return None
        return f"this ONNX Runtime has no {GPU_PROVIDER}; the package onnxruntime-gpu, in place of onnxruntime, has it"

    def build(
        self, model_folder: Path, out: Path, *, examples: Array, trusted: Sequence[str], device: str = CPU
    ) -> None:
        """Write ``model.onnx``; check the outputs of an exported one against torch's, a GPU's against the CPU's.

        ONNX Runtime computes operators without a GPU kernel on the CPU.
        """
        write_onnx(model_folder, out, examples, trusted=trusted, own_kernels=True)
        if device == CPU:
            return
        description = load_description(model_folder)
        check_outputs(
            OnnxSession(out / MODEL, threads=1, device=device),
            OnnxSession(out / MODEL, threads=1),
            examples,
            tolerance=gpu_tolerance(description),
            who=f"ONNX Runtime's outputs on {device} differ from the CPU's",
            remedy="Remove onnxruntime from evaluate.runtimes, or set device=auto.",
        )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = CPU) -> Session:  # noqa: ARG002
        """Load ``model.onnx``."""
        return OnnxSession(folder / MODEL, threads=threads, device=device)


def _refused_layers(layers: Mapping[str, Mapping[str, Any]]) -> str | None:
    for name, entry in layers.items():
        bits = entry["activation_bits"]
        if entry["activations"] is not None and bits != 8:
            return f"the layer {name} has activations of {bits} bits, and ONNX Runtime's kernels compute in 8"
    return None


def write_onnx(model_folder: Path, out: Path, examples: Array, *, trusted: Sequence[str], own_kernels: bool) -> None:
    """Write ``model.onnx`` of a saved model to ``out``, and check ONNX Runtime's outputs against torch's.

    Args:
        model_folder: a variant that `OnnxRuntime.refusal` accepts.
        out: existing folder.
        examples: samples of the data (n, ...).
        trusted: as in `build`.
        own_kernels: whether for ONNX Runtime's own kernels, which take one range for a flat batch (if that is
            close enough) and do not fuse QDQ of these Linear layers; else for OpenVINO's, which do the opposite.

    Raises:
        OverwinterError: the outputs differ too much.
    """
    description = load_description(model_folder)
    if MODEL in description["files"]:
        shutil.copyfile(model_folder / MODEL, out / MODEL)
        return
    from overwinter.models import load_model

    model = load_model(model_folder, trusted=trusted)
    if description["quantization"] is None:
        _refuse_difference(_written(model, model, examples, out), TOLERANCE)
        return
    difference = _export_integers(model, examples, out, batch_ranges=own_kernels, own=own_kernels)
    if difference > INTEGER_TOLERANCE and own_kernels:
        difference = _export_integers(model, examples, out, batch_ranges=False, own=True)
    _refuse_difference(difference, INTEGER_TOLERANCE)


def _export_integers(model: nn.Module, examples: Array, out: Path, *, batch_ranges: bool, own: bool) -> float:
    from overwinter.runtime.onnx_integer import with_stand_ins

    return _written(with_stand_ins(model, batch_ranges=batch_ranges, products=not own), model, examples, out)


def _written(exported: nn.Module, model: nn.Module, examples: Array, out: Path) -> float:
    """Write ``exported``, and return the largest difference of its outputs from those of ``model``."""
    import torch

    from overwinter.runtime.onnx_export import export_onnx

    graph = export_onnx(exported, examples, integers=exported is not model)
    files.write_bytes(out / MODEL, graph.SerializeToString(deterministic=True))
    session = OnnxSession(out / MODEL, threads=1)
    differences = []
    for inputs in compared_inputs(examples):
        with torch.inference_mode():
            expected = finite(model(torch.from_numpy(inputs)).numpy())
        differences.append(largest_difference(_output(session, inputs), expected))
    return max(differences)


def _output(session: Session, inputs: Any) -> Any:
    try:
        return session.run(inputs)
    except Exception as error:  # noqa: BLE001 -- its exceptions share no base class
        raise OverwinterError(
            f"The exported model fails in ONNX Runtime at batch size {len(inputs)}: {error}\n"
            "Does its forward() use the batch size as a constant? Otherwise remove onnxruntime from "
            "evaluate.runtimes."
        ) from None


def _refuse_difference(difference: float, tolerance: float) -> None:
    if difference > tolerance:
        raise OverwinterError(
            f"ONNX Runtime's outputs differ from torch's by {difference:.2g} of the largest logit; the tolerance is "
            f"{tolerance:g}.\nDoes forward() branch on its input's values? Tracing freezes such branches: "
            "change it, or remove onnxruntime from evaluate.runtimes."
        )
