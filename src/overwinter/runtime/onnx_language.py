"""The runtime `onnxruntime` for language models: the graph of onnxruntime-genai's model builder, with our integers.

Building needs the extra `onnx-llm`; opening needs ONNX Runtime only, neither torch nor the builder.
https://onnxruntime.ai/docs/genai/howto/build-model.html
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.errors import OverwinterError
from overwinter.inputs import Inputs, named
from overwinter.models import load_description
from overwinter.models.given import AS_GIVEN, INPUT_FILE
from overwinter.runtime.device import CPU
from overwinter.runtime.language_check import check_language
from overwinter.runtime.language_session import LanguageSession
from overwinter.runtime.onnx_language_session import OnnxLanguageSession

# Type of the model -> the builder's class for it: those that predicted what torch does in tests.
BUILDERS = {
    "gemma2": "Gemma2Model",
    "gemma3_text": "Gemma3Model",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "phi": "PhiModel",
    "phi3": "Phi3MiniModel",
    "qwen2": "QwenModel",
    "qwen3": "Qwen3Model",
}
_ROTARY = {"default": tuple(BUILDERS), "llama3": ("llama",)}  # kinds of rotary positions -> families compared
_ROTATED_MULTIPLE = 16
_ROTATED_SHARE = {"phi": 0.5}  # transformers' default where it is not 1
_OWN_HEADS = ("gemma2", "gemma3_text", "qwen3")  # whose head_dim has a default
SMALLEST_BLOCK = 16  # columns that share a scale in ONNX Runtime's MatMulNBits; it is a power of two
TOLERANCE = 1e-4  # nats, for float weights
# For integer weights, whose products take activations rounded to 8 bits in blocks of 32.
INTEGER_TOLERANCE = 0.05
_BUILDER = "onnxruntime_genai"
_PROGRAM = "overwinter.runtime.onnx_language_program"


class OnnxLanguage:
    """A `LanguageRuntime` of ONNX Runtime, on the CPU."""

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why ONNX Runtime cannot run this variant."""
        if importlib.util.find_spec(_BUILDER) is None:
            return "its graph is made by the package onnxruntime-genai. `pip install 'overwinter[onnx-llm]'`"
        return _refused_family(description["model"]["config"]) or _refused_weights(description["quantization"])

    def build(
        self,
        model_folder: Path,
        out: Path,
        *,
        examples: Inputs,
        trusted: Sequence[str],
        device: str = CPU,  # noqa: ARG002
    ) -> None:
        """Write ``model.onnx``, its weights and ``language.json``; compare the predictions with torch's.

        Raises:
            OverwinterError: the builder fails, or the predictions differ by more than the tolerance.
        """
        _write_graph(model_folder, out)
        from overwinter.runtime.torch_language import TorchLanguageSession, as_module

        (windows,) = named(examples).values()
        floats = load_description(model_folder)["quantization"] is None
        check_language(
            self.open(out, threads=1, trusted=trusted),
            TorchLanguageSession(as_module(model_folder, trusted=trusted)),
            windows,
            tolerance=TOLERANCE if floats else INTEGER_TOLERANCE,
            who="ONNX Runtime's predictions differ from torch's",
            remedy="Remove onnxruntime from evaluate.runtimes.",
        )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = CPU) -> LanguageSession:  # noqa: ARG002
        """Load what `build` wrote."""
        return OnnxLanguageSession(folder, threads=threads)


def _refused_family(config: Mapping[str, Any]) -> str | None:
    family = config.get("model_type")
    if family not in BUILDERS:
        return (
            f"no graph of the model type {family!r} has been compared with torch's; compared are those of "
            f"{', '.join(BUILDERS)}"
        )
    kinds = _rotary_kinds(config.get("rope_parameters") or config.get("rope_scaling") or {})
    wrong = sorted(kind for kind in kinds if family not in _ROTARY.get(kind, ()))
    if wrong:
        return f"no graph of a {family} with rotary positions of the kind {', '.join(wrong)} has been compared"
    size = _rotated(config)
    if size is not None and size % _ROTATED_MULTIPLE:
        return (
            f"rotary positions turn {size} numbers of each head, and ONNX Runtime's attention turns multiples of "
            f"{_ROTATED_MULTIPLE}"
        )
    return None


def _rotated(config: Mapping[str, Any]) -> int | None:
    """Return how many numbers of each head rotary positions turn; None where the configuration leaves it to a default.

    The head's size follows from the width only where a family has no default of its own.
    """
    head, family = config.get("head_dim"), config["model_type"]
    if head is None and family not in _OWN_HEADS and {"hidden_size", "num_attention_heads"} <= set(config):
        head = config["hidden_size"] // config["num_attention_heads"]
    if head is None:
        return None
    entry = config.get("rope_parameters") or {}
    share = config.get("partial_rotary_factor", entry.get("partial_rotary_factor", _ROTATED_SHARE.get(family, 1.0)))
    return int(head * share)


def _rotary_kinds(entry: Mapping[str, Any]) -> set[str]:
    """Return the kinds that an entry of the configuration names, of all layers or by the type of layer."""
    inner = [each for each in entry.values() if isinstance(each, Mapping)]
    return {str(each.get("rope_type", each.get("type", "default"))) for each in (inner or [entry])}


def _refused_weights(quantization: Mapping[str, Any] | None) -> str | None:
    if quantization is None:
        return None
    if quantization.get("method") == AS_GIVEN:
        return None
    if quantization.get("method") == INPUT_FILE:
        return "it is a GGUF file, which ONNX Runtime does not read; its integers are in the variant as_given"
    if "layers" not in quantization:
        return "its weights are quantized in torchao's format, which ONNX Runtime has no kernels for"
    for name, entry in quantization["layers"].items():
        if entry["activations"] is not None:
            return (
                f"the layer {name} rounds its input to {entry['activation_bits']} bits, and ONNX Runtime's product for "
                "language models rounds it in another way"
            )
        if entry["group_size"] is not None and entry["group_size"] % SMALLEST_BLOCK:
            return (
                f"the layer {name} has groups of {entry['group_size']} columns, and ONNX Runtime's are multiples of "
                f"{SMALLEST_BLOCK}"
            )
    return None


def _write_graph(model_folder: Path, out: Path) -> None:
    """Run the builder in a process of its own, since it adds modules with general names to the import path."""
    command = [sys.executable, "-m", _PROGRAM, str(model_folder), str(out)]
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **offline})
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise OverwinterError(
            f"onnxruntime-genai's model builder fails for {model_folder}: {reason}\n"
            "Remove onnxruntime from evaluate.runtimes."
        )
