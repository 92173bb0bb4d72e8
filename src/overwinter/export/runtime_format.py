"""Export as what a runtime's `build` writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from overwinter.export.interface import Reading
from overwinter.export.source import Source
from overwinter.inputs import Array, Inputs, unnamed
from overwinter.models import signature_of
from overwinter.runtime import build, refusal
from overwinter.signature import TensorSpec

_SAMPLES, _SIDE, _SEED = 8, 16, 0


class RuntimeFormat:
    """The files of a runtime for models that are no language models.

    Attributes:
        runtime: its name.
    """

    runtime: str

    def refusal(self, source: Source) -> str | None:
        """Return why the runtime cannot run the source."""
        if source.language:
            return "language models are not exported in it yet"
        if source.runtime == self.runtime:
            return None
        if source.runtime is not None:
            return (
                f"its bundle holds the files of {source.runtime}, from which those of {self.runtime} are not made. "
                "Name the saved model instead, such as outputs/quantize/model/NAME"
            )
        return refusal(source.folder, self.runtime)

    def write(self, source: Source, folder: Path) -> tuple[str, ...]:
        """Copy the files of a bundle for the runtime; else build them, which compares outputs with torch's."""
        if source.runtime is not None:
            shutil.copytree(source.folder, folder, dirs_exist_ok=True)
            return ("the files are those of the bundle, byte for byte",)
        build(source.folder, self.runtime, folder, examples=_examples(source), trusted=source.trusted)
        return ("the outputs were compared with torch's when it was built",)

    def read(self, source: Source, folder: Path) -> Reading | None:  # noqa: ARG002 -- as other formats
        """Return None: `write` has compared the outputs."""
        return None


class OnnxFormat(RuntimeFormat):
    """An ONNX file for ONNX Runtime."""

    runtime = "onnxruntime"


class OpenVinoFormat(RuntimeFormat):
    """An ONNX file for OpenVINO."""

    runtime = "openvino"


def _examples(source: Source) -> Inputs:
    """Return recorded samples, or made-up ones of the shapes that the model takes."""
    if source.samples is not None:
        return source.samples
    random = np.random.default_rng(_SEED)
    made: Inputs = unnamed({spec.name: _made_up(spec, random) for spec in signature_of(source.description).inputs})
    return made


def _made_up(spec: TensorSpec, random: np.random.Generator) -> Array:
    shape = (_SAMPLES, *(_SIDE if side is None else side for side in spec.shape[1:]))
    if spec.dtype == "float32":
        return random.standard_normal(shape).astype(np.float32)
    return random.integers(0, 2, shape).astype(spec.dtype)  # tokens, flags and masks that every model has
