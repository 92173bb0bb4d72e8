"""The runtime `onnxruntime`: exports a module, float or with integer layers, and runs an ONNX variant unchanged.

Opening a session needs no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.inputs import Inputs, named
from overwinter.models import load_description, signature_of
from overwinter.runtime.device import CPU, gpu_tolerance
from overwinter.runtime.examples import expected_outputs
from overwinter.runtime.onnx_session import OnnxSession
from overwinter.runtime.output_check import check_outputs, finite
from overwinter.runtime.session import Array, Session, largest_difference
from overwinter.signature import Signature

if TYPE_CHECKING:
    from torch import nn

    from overwinter.runtime.language_session import LanguageRuntime

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

    @property
    def language(self) -> LanguageRuntime:
        """The part that runs language models."""
        from overwinter.runtime.onnx_language import OnnxLanguage

        return OnnxLanguage()

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
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = CPU
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
            signature=signature_of(description),
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


def write_onnx(model_folder: Path, out: Path, examples: Inputs, *, trusted: Sequence[str], own_kernels: bool) -> None:
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

    exporting = _Exporting(load_model(model_folder, trusted=trusted), examples, signature_of(description), out / MODEL)
    if description["quantization"] is None:
        _refuse_difference(exporting.floats(), TOLERANCE)
        return
    difference = exporting.integers(batch_ranges=own_kernels, own=own_kernels)
    if difference > INTEGER_TOLERANCE and own_kernels:
        difference = exporting.integers(batch_ranges=False, own=True)
    _refuse_difference(difference, INTEGER_TOLERANCE)


@dataclass(frozen=True)
class _Exporting:
    """Writes a module as an ONNX file, and tells how far ONNX Runtime's outputs are from torch's."""

    model: nn.Module
    examples: Inputs
    signature: Signature
    path: Path

    def floats(self) -> float:
        """Write the module itself; return the largest difference."""
        return self._written(self.model, TOLERANCE, integers=False)

    def integers(self, *, batch_ranges: bool, own: bool) -> float:
        """Write the module with its integer layers as integer operators; return the largest difference."""
        from overwinter.runtime.onnx_integer import with_stand_ins

        stand_ins = with_stand_ins(self.model, batch_ranges=batch_ranges, products=not own)
        return self._written(stand_ins, INTEGER_TOLERANCE, integers=True)

    def _written(self, exported: nn.Module, tolerance: float, *, integers: bool) -> float:
        """Write the first export within the tolerance, else the last one; return its difference, or the least."""
        from overwinter.runtime.onnx_export import exports
        from overwinter.runtime.torch_runtime import TorchSession

        expected = expected_outputs(TorchSession(self.model).run, self.examples, self.signature)
        pairs = [(inputs, finite(outputs)) for inputs, outputs in expected]
        differences, failures = [], []
        for graph in exports(exported, self.examples, self.signature, integers=integers):
            files.write_bytes(self.path, graph.SerializeToString(deterministic=True))
            try:
                differences.append(self._difference(pairs))
            except OverwinterError as error:
                failures.append(error)
            else:
                if differences[-1] <= tolerance:
                    return differences[-1]
        if failures:
            raise failures[0]
        return min(differences)

    def _difference(self, pairs: Sequence[tuple[Inputs, Array]]) -> float:
        session = OnnxSession(self.path, threads=1)
        return max(largest_difference(_output(session, inputs), expected) for inputs, expected in pairs)


def _output(session: Session, inputs: Inputs) -> Array:
    try:
        return session.run(inputs)
    except Exception as error:  # noqa: BLE001 -- its exceptions share no base class
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in named(inputs).items())
        raise OverwinterError(
            f"The exported model fails in ONNX Runtime for inputs of other sizes ({shapes}): {error}\n"
            "Does its forward() use the batch size or a length as a constant? Otherwise remove onnxruntime from "
            "evaluate.runtimes."
        ) from None


def _refuse_difference(difference: float, tolerance: float) -> None:
    if difference > tolerance:
        raise OverwinterError(
            f"ONNX Runtime's outputs differ from torch's by {difference:.2g} of the largest; the tolerance is "
            f"{tolerance:g}.\nDoes forward() branch on its input's values? Tracing freezes such branches: "
            "change it, or remove onnxruntime from evaluate.runtimes."
        )
