"""An ONNX file in ONNX Runtime, on the CPU. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]  # has no types

from overwinter.errors import ConfigError, IntegrityError
from overwinter.serving.session import Array

_ERRORS_ONLY = 3


class OnnxSession:
    """A `Session` on ONNX Runtime.

    Its threads never spin while they wait: a spinning pool beside another job made an answer of 0.2 ms take
    88 ms of wall and CPU time.

    Args:
        path: the ONNX file; one input and one output, each with the batch first.
        threads: how many compute one answer.

    Raises:
        IntegrityError: ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        if threads < 1:
            raise ConfigError(f"threads={threads} must be at least 1.")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 -- its exceptions share no base class below Exception
            raise IntegrityError(
                f"{path} cannot be loaded by ONNX Runtime {onnxruntime.__version__}: {error}\n"
                "Make it again with this version (`dvc repro`)."
            ) from None
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, inputs: Array) -> Array:
        """Return logits (batch, classes) as float32 of model inputs (batch, ...) as float32."""
        answers: Array = self._session.run(self._outputs, {self._input: inputs})[0]
        return answers


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
