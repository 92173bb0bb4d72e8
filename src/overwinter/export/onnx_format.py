"""Export as an ONNX file for ONNX Runtime; of a language model, as a folder that onnxruntime-genai loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from overwinter.export.runtime_format import RuntimeFormat
from overwinter.export.source import Source
from overwinter.inputs import Array


class OnnxFormat(RuntimeFormat):
    """ONNX Runtime's files."""

    runtime, pipeline = "onnxruntime", "onnxruntime-genai"
    read_by = pipeline

    def complete(self, source: Source, folder: Path) -> None:
        """Write genai_config.json."""
        from overwinter.export.genai import write_genai

        write_genai(folder, family=source.config.get("model_type"))

    def reader(self, folder: Path) -> Callable[[Array], Array]:
        """Return the logits that onnxruntime-genai finds."""
        from overwinter.export.genai import genai_logits

        return lambda tokens: genai_logits(folder, tokens)
