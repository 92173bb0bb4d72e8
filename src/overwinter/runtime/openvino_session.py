"""An ONNX file in OpenVINO, on the CPU: the extra `openvino`. Needs no torch.

https://docs.openvino.ai/2026/openvino-workflow/running-inference.html
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError, IntegrityError
from overwinter.inputs import Array, Inputs
from overwinter.runtime.onnx_files import external_files


class OpenVinoSession:
    """A `Session` on OpenVINO. It keeps the graph's float32 and does not switch to bfloat16.

    Args:
        path: the ONNX file; one output, and every input, with the batch first. Axes that vary stay dynamic.
        threads: The number of threads that compute one output.

    Raises:
        ConfigError: OpenVINO is not installed.
        IntegrityError: OpenVINO cannot load the file, lacks one of its operators, or the file takes weights from
            outside of its folder.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        if threads < 1:
            raise ConfigError(f"threads={threads} must be at least 1.")
        openvino = import_openvino()
        try:
            core = openvino.Core()
            compiled = core.compile_model(_read(core, path), "CPU", _settings(threads))
        except (RuntimeError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise IntegrityError(
                f"{path} cannot be loaded by OpenVINO {openvino.__version__}: {reason}\n"
                "Make it again with this version (`dvc repro`), or remove openvino from evaluate.runtimes."
            ) from None
        self._inputs = [port.get_any_name() for port in compiled.inputs]
        self._request = compiled.create_infer_request()

    def run(self, inputs: Inputs) -> Array:
        """Return the output (batch, ...), float32, of inputs (batch, ...)."""
        fed = [inputs[name] for name in self._inputs] if isinstance(inputs, Mapping) else [inputs]
        # The output is a view of the request's memory, which the next call overwrites.
        outputs: Array = self._request.infer(fed, share_inputs=True)[0].astype(np.float32)
        return outputs


def import_openvino() -> Any:
    """Import OpenVINO, only when a session needs it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ConfigError(
            f"The runtime `openvino` needs OpenVINO: {error}.\n"
            "`pip install 'overwinter[openvino]'`, or remove it from evaluate.runtimes."
        ) from None


def _read(core: Any, path: Path) -> Any:
    """Read a model; with external data from copies, because OpenVINO cannot read it from unnamed files."""
    external = external_files(path)
    if not external:
        return core.read_model(path)
    with tempfile.TemporaryDirectory(prefix="overwinter-") as folder:
        for name, source in {path.name: path, **external}.items():
            copy = Path(folder) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        return core.read_model(Path(folder) / path.name)


def _settings(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
