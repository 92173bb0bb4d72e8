"""The runtime `openvino`: the ONNX files of `onnxruntime`, run by OpenVINO on the CPU.

Language models have graphs of another origin: `overwinter.runtime.openvino_language`.

Opening a session needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError, IntegrityError
from overwinter.inputs import Inputs
from overwinter.models import load_description, signature_of
from overwinter.runtime.language_session import LanguageRuntime
from overwinter.runtime.onnx_runtime import MODEL, OnnxRuntime, write_onnx
from overwinter.runtime.onnx_session import OnnxSession
from overwinter.runtime.openvino_session import OpenVinoSession
from overwinter.runtime.output_check import check_outputs
from overwinter.runtime.session import Session, largest_difference

TOLERANCE = 1e-4  # for a float model's outputs, relative to the largest logit
# Values rounded to the neighbouring step of 1/255, in every layer.
QUANTIZED_TOLERANCE = 0.05
LARGEST_TOLERANCE = 0.25


class OpenVinoRuntime:
    """OpenVINO, on the CPU only."""

    name = "openvino"
    packages = ("onnxruntime", "openvino")
    packages_for_gpu = False
    compiles = True

    @property
    def language(self) -> LanguageRuntime:
        """The part that runs language models."""
        from overwinter.runtime.openvino_language import OpenVinoLanguage

        return OpenVinoLanguage()

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why OpenVINO cannot run this variant: it runs what ONNX Runtime runs."""
        reason = OnnxRuntime().refusal(description)
        return None if reason is None else reason.replace("ONNX Runtime", "OpenVINO")

    def build(self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str]) -> None:
        """Write ``model.onnx``, and check OpenVINO's outputs against ONNX Runtime's."""
        # OpenVINO has no kernel for MatMulInteger: with it, an output took as long as a float one.
        write_onnx(model_folder, out, examples, trusted=trusted, own_kernels=False)
        description = load_description(model_folder)
        check_outputs(
            _opened(out / MODEL),
            OnnxSession(out / MODEL, threads=1),
            examples,
            signature=signature_of(description),
            tolerance=TOLERANCE if description["quantization"] is None else _rounding(out / MODEL, examples),
            who="OpenVINO's outputs differ from ONNX Runtime's",
            remedy="Remove openvino from evaluate.runtimes.",
        )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> Session:  # noqa: ARG002
        """Load ``model.onnx``."""
        return OpenVinoSession(folder / MODEL, threads=threads)


def _rounding(path: Path, examples: Inputs) -> float:
    """Return the tolerance for rounded values: in a deep model a step more or less in one layer moves all behind it.

    ONNX Runtime's own kernels are compared with their simulation, of which they are another order of sums; twice that
    is allowed, within bounds.
    """
    kernels, simulated = (OnnxSession(path, threads=1, integers=each).run(examples) for each in (True, False))
    return min(LARGEST_TOLERANCE, max(QUANTIZED_TOLERANCE, 2 * largest_difference(kernels, simulated)))


def _opened(path: Path) -> Session:
    """Open a file that was just exported; on failure, blame the model, not the file."""
    try:
        return OpenVinoSession(path, threads=1)
    except IntegrityError as error:
        reason = str(error).splitlines()[0]
    import onnx

    from overwinter.runtime.onnx_graph import layer_of

    nodes = [node for node in onnx.load(path).graph.node if re.search(rf"\b{node.op_type}\b", reason)]
    layers = dict.fromkeys(f"{node.op_type} of layer {layer_of(node.name) or node.name}" for node in nodes)
    raise ConfigError(
        f"OpenVINO cannot run this model{': ' if layers else ''}{', '.join(layers)}. {reason}\n"
        "Remove openvino from evaluate.runtimes, or change the model."
    )
