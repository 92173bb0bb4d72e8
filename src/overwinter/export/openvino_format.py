"""Export as an ONNX file for OpenVINO; of a language model, as a folder that openvino-genai loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from overwinter.export.runtime_format import RuntimeFormat
from overwinter.export.source import Source
from overwinter.inputs import Array


class OpenVinoFormat(RuntimeFormat):
    """OpenVINO's files."""

    runtime, pipeline, read_by = "openvino", "openvino-genai", "openvino"

    def complete(self, source: Source, folder: Path) -> None:
        """Write the tokenizer as graphs."""
        from overwinter.export.openvino_genai import write_openvino_genai

        write_openvino_genai(folder, source.config)

    def reader(self, folder: Path) -> Callable[[Array], Array]:
        """Return the logits that OpenVINO computes: the pipeline gives none."""
        from overwinter.export.openvino_genai import openvino_logits

        return lambda tokens: openvino_logits(folder, tokens)
