"""An ONNX file in ONNX Runtime, on the CPU or, with the package onnxruntime-gpu, on a GPU. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # has no types

from overwinter.errors import ConfigError, IntegrityError
from overwinter.inputs import Array, Inputs
from overwinter.runtime.onnx_files import external_files, mapped

_ERRORS_ONLY = 3
_CPU = "cpu"
_CPU_PROVIDER, _GPU_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxSession:
    """A `Session` on ONNX Runtime.

    Its threads do not spin while waiting: with another job on the machine, a spinning pool made an output of 0.2 ms
    take 88 ms of wall and CPU time.

    Args:
        path: the ONNX file; one output, and every input, with the batch first.
        threads: The number of threads that compute one output.
        device: `cpu`, `cuda` or `cuda:N`.
        integers: whether to compute in integers where the graph rounds to them; else it is simulated in float32.

    Raises:
        ConfigError: there is no thread, or ONNX Runtime cannot compute on the device (it would silently use the CPU).
        IntegrityError: ONNX Runtime cannot load the file, or the file takes weights from outside of its folder.
    """

    def __init__(self, path: Path, *, threads: int, device: str = _CPU, integers: bool = True) -> None:
        self._session = load_onnx(path, threads=threads, device=device, integers=integers)
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, inputs: Inputs) -> Array:
        """Return the output (batch, ...), float32, of inputs (batch, ...)."""
        outputs: Array = self._session.run(self._outputs, self._fed(inputs))[0]
        return outputs.astype(np.float32, copy=False)

    def _fed(self, inputs: Inputs) -> Mapping[str, Array]:
        """Return the inputs by the graph's names; an export leaves out one that the model does not use."""
        if isinstance(inputs, Mapping):
            return {name: inputs[name] for name in self._inputs}
        return {self._inputs[0]: inputs}


def load_onnx(path: Path, *, threads: int, device: str = _CPU, integers: bool = True) -> onnxruntime.InferenceSession:
    """Load an ONNX file; see `OnnxSession`."""
    if threads < 1:
        raise ConfigError(f"threads={threads} must be at least 1.")
    _check_provider(device, onnxruntime.get_available_providers())
    try:
        session = _opened(path, _options(threads, integers=integers), _providers(device))
    except Exception as error:  # noqa: BLE001 -- its exceptions share no base class below Exception
        raise IntegrityError(
            f"{path} cannot be loaded by ONNX Runtime {onnxruntime.__version__}: {error}\n"
            "Make it again with this version (`dvc repro`)."
        ) from None
    _check_provider(device, session.get_providers())
    return session


def _opened(path: Path, options: onnxruntime.SessionOptions, providers: list[Any]) -> onnxruntime.InferenceSession:
    """Load a model; external data is passed in memory, so that ONNX Runtime opens no path that the model names."""
    with mapped(external_files(path)) as contents:
        if contents:
            buffers = list(contents.values())
            options.add_external_initializers_from_files_in_memory(list(contents), buffers, list(map(len, buffers)))
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)


def _check_provider(device: str, providers: Sequence[str]) -> None:
    if device != _CPU and _GPU_PROVIDER not in providers:
        raise ConfigError(
            f"ONNX Runtime {onnxruntime.__version__} cannot compute on device={device}: it has no {_GPU_PROVIDER}, or "
            "could not load it. Install onnxruntime-gpu with the CUDA and cuDNN that it needs, or set device=auto."
        )


def _providers(device: str) -> list[Any]:
    if device == _CPU:
        return [_CPU_PROVIDER]
    return [(_GPU_PROVIDER, {"device_id": device.partition(":")[2] or "0"}), _CPU_PROVIDER]


def _options(threads: int, *, integers: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    if not integers:  # integer kernels are made by optimizing the graph
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
