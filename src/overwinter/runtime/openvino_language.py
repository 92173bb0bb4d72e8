"""Language models on the runtime `openvino`: a graph of openvino-genai's with our weights, run by plain OpenVINO.

Building needs openvino-genai and the extra `llm`, serving neither.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.inputs import Inputs, named
from overwinter.models import load_description
from overwinter.runtime.device import CPU
from overwinter.runtime.language_check import check_language
from overwinter.runtime.openvino_language_session import GRAPH, OpenVinoLanguageSession

if TYPE_CHECKING:
    from overwinter.models import CausalLanguageModel
    from overwinter.runtime.language_session import LanguageSession

_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # whose graphs openvino-genai makes from GGUF
_PACKAGES = ("openvino", "openvino_genai", "openvino_tokenizers")
_TOLERANCE = 1e-3  # nats, of a float model: its matrices are in float16
_QUANTIZED_TOLERANCE = 0.03  # nats: activations are rounded to 8 bits; 0.004 on SmolLM2


class OpenVinoLanguage:
    """The `LanguageRuntime` of `openvino`, on the CPU."""

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why it cannot run this variant."""
        return _missing() or _family_refusal(description) or _layers_refusal(description["quantization"] or {})

    def build(
        self,
        model_folder: Path,
        out: Path,
        *,
        examples: Inputs,
        trusted: Sequence[str],
        device: str = CPU,  # noqa: ARG002 -- the interface's
    ) -> None:
        """Write the graph, and check its predictions against torch's."""
        from overwinter.models import load_model
        from overwinter.runtime.torch_language import TorchLanguageSession

        model: Any = load_model(model_folder, trusted=trusted)
        _write(model, out)
        (tokens,) = named(examples).values()
        check_language(
            OpenVinoLanguageSession(out, threads=1),
            TorchLanguageSession(model),
            np.asarray(tokens),
            tolerance=_QUANTIZED_TOLERANCE if load_description(model_folder)["quantization"] else _TOLERANCE,
            who="OpenVINO's predictions differ from torch's",
            remedy="Remove openvino from evaluate.runtimes.",
        )

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str], device: str = CPU) -> LanguageSession:  # noqa: ARG002
        """Load the graph."""
        return OpenVinoLanguageSession(folder, threads=threads)


def _missing() -> str | None:
    for package in (*_PACKAGES, "gguf"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is missing: pip install 'overwinter[llm,openvino]'"
    return None


def _family_refusal(description: Mapping[str, Any]) -> str | None:
    from overwinter.formats import gguf_refusal

    config = description["model"]["config"]
    if config.get("model_type") not in _FAMILIES:
        return f"openvino-genai makes graphs of {', '.join(_FAMILIES)}, not of {config.get('model_type')!r}"
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        return f"its rotary embedding is scaled ({rope['rope_type']}), which openvino-genai does not read"
    return gguf_refusal(description)


def _layers_refusal(quantization: Mapping[str, Any]) -> str | None:
    if quantization and "layers" not in quantization:
        return f"its weights were quantized by {quantization.get('method')!r} in a form of its own"
    for name, entry in quantization.get("layers", {}).items():
        if entry["activations"] is not None or entry["smoothed"]:
            return f"the layer {name} quantizes its input, for which OpenVINO has rules of its own"
    return None


def _write(model: CausalLanguageModel, out: Path) -> None:
    from overwinter.formats import write_skeleton
    from overwinter.runtime.openvino_graph import made_graph, replace_weights, save_graph

    with tempfile.TemporaryDirectory(prefix="overwinter-") as folder:
        skeleton = Path(folder) / "skeleton.gguf"
        marked = write_skeleton(model, skeleton)
        graph = made_graph(skeleton)
        replace_weights(graph, marked, lambda name: _weight(model, name))
        save_graph(graph, out / GRAPH, context_tokens=int(model.network.config.max_position_embeddings))


def _weight(model: CausalLanguageModel, name: str) -> Any:
    from overwinter.models import IntegerLayer
    from overwinter.runtime.openvino_weights import float_weight, integer_weight

    owner, _, part = name.rpartition(".")
    layer = model.network.get_submodule(owner)
    if isinstance(layer, IntegerLayer) and part == "weight":
        return integer_weight(layer)
    values = getattr(layer, part).detach().float().cpu().numpy()
    return float_weight(values, half=values.ndim > 1)
