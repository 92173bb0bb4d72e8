"""The runtime `onnxruntime`: a float model is exported, a quantized ONNX form is taken as it is.

Opening a session needs no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.models import load_description
from overwinter.serving import OnnxSession, Session, largest_difference

MODEL = "model.onnx"
TOLERANCE = 1e-4  # of an answer against torch's, relative to the largest logit; float32 kernels differ by about 1e-6


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why ONNX Runtime cannot run this form: it takes ONNX files and float torch models."""
        if MODEL in description["files"] or description["quantization"] is None:
            return None
        return "its weights are quantized in torchao's format, which ONNX Runtime has no kernels for"

    def build(self, model_folder: Path, out: Path, *, trusted: Sequence[str]) -> None:
        """Write ``model.onnx``; the answers of an exported one are checked against torch's."""
        description = load_description(model_folder)
        if MODEL in description["files"]:
            shutil.copyfile(model_folder / MODEL, out / MODEL)
        else:
            _export(model_folder, description["input_shape"], out, trusted)

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> Session:  # noqa: ARG002
        """Load ``model.onnx``."""
        return OnnxSession(folder / MODEL, threads=threads)


def _export(model_folder: Path, input_shape: Sequence[int], out: Path, trusted: Sequence[str]) -> None:
    import torch

    from overwinter.models import load_model
    from overwinter.runtime.onnx_export import example_inputs, export_onnx

    model = load_model(model_folder, trusted=trusted)
    files.write_bytes(out / MODEL, export_onnx(model, input_shape).SerializeToString(deterministic=True))
    session = OnnxSession(out / MODEL, threads=1)
    for batch in (1, 5):  # neither is the batch that was traced
        inputs = example_inputs(input_shape, batch)
        with torch.inference_mode():
            expected = model(torch.from_numpy(inputs)).numpy()
        _refuse_difference(largest_difference(_answer(session, inputs), expected))


def _answer(session: Session, inputs: Any) -> Any:
    try:
        return session.run(inputs)
    except Exception as error:  # noqa: BLE001 -- its exceptions share no base class
        raise OverwinterError(
            f"The exported model fails in ONNX Runtime at batch size {len(inputs)}: {error}\n"
            "Does its forward() use the batch size as a constant? Else take onnxruntime out of "
            "evaluate.runtimes."
        ) from None


def _refuse_difference(difference: float) -> None:
    if difference > TOLERANCE:
        raise OverwinterError(
            f"ONNX Runtime's answers differ from torch's by {difference:.2g} of the largest logit; "
            f"allowed are {TOLERANCE:g}.\nDoes forward() branch on its input's values? Tracing freezes such "
            "branches: "
            "change it, or take onnxruntime out of evaluate.runtimes."
        )
