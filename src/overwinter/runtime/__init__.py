"""Runtimes that execute saved models. Entry-point group ``overwinter.runtimes``.

- `build` converts a saved model (`overwinter.models`) to the files of a runtime, and checks its outputs against
  torch's; `open_session` loads them and returns a `Session`, whose ``run`` returns outputs; `open_language` a
  `LanguageSession`, for language models, which generate step by step.
- `check_outputs` is that check, for your own runtime (``examples/own_variants``); `check_language` that of a language
  model.
- `check_runtimes` builds an untrained model for every runtime, before training.
- `measure_loading` opens a variant in a fresh process and measures the time and the peak memory.
- `refusal` returns why a runtime cannot run a variant: `torch` and `torch-compile` (which needs a C++ compiler) run
  modules, also those that torchao quantized; `torch-bf16` runs float ones, 4-bit layers with a packed kernel;
  `onnxruntime` and `openvino` (an extra) run ONNX variants, and modules after exporting them: float ones, and those
  with the integer layers of `overwinter.models`. `onnxruntime` runs language models too, with graphs by
  onnxruntime-genai's builder (the extra `onnx-llm`); `llama-cpp` (an extra) runs
  language models only, as GGUF files.
- `serving_device` returns the device on which variants are measured and served; `check_devices` checks that every
  runtime can compute there: torch's on the CPU and on CUDA devices, `onnxruntime` too if its build has the provider,
  `openvino` on the CPU. A session's inputs and outputs are on the host. `computing_device` returns the device on which
  models are quantized; `on_gpu` explains failures there.
- `export_onnx`, `tidy`, `layer_of` and the torchao storage are shared with `overwinter.quantization`, which
  makes the variants that these runtimes run.

Opening an `onnxruntime`, `openvino` or `llama-cpp` session imports no torch.

`Session` is a loaded model on any runtime; the evaluated sessions are those that are served. A language model's is a
`LanguageSession`: tokens in, logits out, keys and values kept (`KeyValueCache`). A runtime that runs language models
has a `LanguageRuntime` as its attribute ``language``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.runtime.device import computing_device, device_entry, needed_device, on_gpu, serving_device
    from overwinter.runtime.examples import EXAMPLES
    from overwinter.runtime.interface import Runtime
    from overwinter.runtime.language_check import check_language
    from overwinter.runtime.language_session import KeyValueCache, LanguageRuntime, LanguageSession, canary_tokens
    from overwinter.runtime.loading import Readiness, measure_loading
    from overwinter.runtime.onnx_export import export_onnx
    from overwinter.runtime.onnx_graph import float_weights, initializers, layer_of, tidy
    from overwinter.runtime.onnx_session import OnnxSession
    from overwinter.runtime.openvino_session import OpenVinoSession
    from overwinter.runtime.output_check import check_outputs
    from overwinter.runtime.registry import (
        build,
        check_devices,
        check_runtimes,
        converts,
        find_runtime,
        open_language,
        open_session,
        refusal,
    )
    from overwinter.runtime.session import Array, Session, largest_difference, softmax
    from overwinter.runtime.torchao_storage import compute_in_bfloat16, describe_torchao, import_torchao, load_torchao

__all__ = [
    "EXAMPLES",
    "Array",
    "KeyValueCache",
    "LanguageRuntime",
    "LanguageSession",
    "OnnxSession",
    "OpenVinoSession",
    "Readiness",
    "Runtime",
    "Session",
    "build",
    "canary_tokens",
    "check_devices",
    "check_language",
    "check_outputs",
    "check_runtimes",
    "compute_in_bfloat16",
    "computing_device",
    "converts",
    "describe_torchao",
    "device_entry",
    "export_onnx",
    "find_runtime",
    "float_weights",
    "import_torchao",
    "initializers",
    "largest_difference",
    "layer_of",
    "load_torchao",
    "measure_loading",
    "needed_device",
    "on_gpu",
    "open_language",
    "open_session",
    "refusal",
    "serving_device",
    "softmax",
    "tidy",
]

# Loaded on first use: a worker needs few of them, and the supervisor of a server none.
_HOMES = {
    "Array": "session",
    "EXAMPLES": "examples",
    "KeyValueCache": "language_session",
    "LanguageRuntime": "language_session",
    "LanguageSession": "language_session",
    "OnnxSession": "onnx_session",
    "OpenVinoSession": "openvino_session",
    "Readiness": "loading",
    "Runtime": "interface",
    "Session": "session",
    "build": "registry",
    "canary_tokens": "language_session",
    "check_language": "language_check",
    "check_outputs": "output_check",
    "check_devices": "registry",
    "check_runtimes": "registry",
    "compute_in_bfloat16": "torchao_storage",
    "computing_device": "device",
    "converts": "registry",
    "describe_torchao": "torchao_storage",
    "device_entry": "device",
    "export_onnx": "onnx_export",
    "find_runtime": "registry",
    "float_weights": "onnx_graph",
    "import_torchao": "torchao_storage",
    "initializers": "onnx_graph",
    "largest_difference": "session",
    "layer_of": "onnx_graph",
    "load_torchao": "torchao_storage",
    "measure_loading": "loading",
    "needed_device": "device",
    "on_gpu": "device",
    "open_language": "registry",
    "open_session": "registry",
    "refusal": "registry",
    "serving_device": "device",
    "softmax": "session",
    "tidy": "onnx_graph",
}

__getattr__ = lazily(__name__, _HOMES)
