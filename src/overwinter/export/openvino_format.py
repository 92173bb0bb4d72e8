"""Export as an ONNX file for OpenVINO; of a language model, as a folder that openvino-genai loads."""

from __future__ import annotations

from overwinter.export.runtime_format import RuntimeFormat


class OpenVinoFormat(RuntimeFormat):
    """OpenVINO's files."""

    runtime, pipeline = "openvino", "openvino-genai"
