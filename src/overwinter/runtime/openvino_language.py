"""Language models on the runtime `openvino`: a graph of openvino-genai's with our weights, run by plain OpenVINO.

Building needs openvino-genai and the extra `llm`, serving neither. A GGUF file as it was given is run in two ways:
``as_given`` with its own integers and float minima, ``input_file`` as openvino-genai reads it.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.inputs import Inputs, named
from overwinter.models import load_description
from overwinter.models.given import AS_GIVEN, GIVEN, GIVEN_FILE, INPUT_FILE
from overwinter.runtime.device import CPU
from overwinter.runtime.language_check import check_language
from overwinter.runtime.openvino_language_session import GRAPH, OpenVinoLanguageSession

if TYPE_CHECKING:
    from overwinter.models import CausalLanguageModel
    from overwinter.runtime.language_session import LanguageSession

_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # whose graphs openvino-genai makes from GGUF
_PACKAGES = ("openvino", "openvino_genai", "openvino_tokenizers")
_READ_FORMATS = ("F16", "F32", "Q4_0", "Q4_1", "Q4_K", "Q6_K", "Q8_0")  # by openvino-genai 2026.4, as tried
_TOLERANCE = 1e-3  # nats, of a float model: its matrices are in float16
_QUANTIZED_TOLERANCE = 0.03  # nats: activations are rounded to 8 bits; 0.004 on SmolLM2
# nats: openvino-genai rounds the minima of Q4_1 and Q4_K to whole zero points; the quality is measured later.
_READ_TOLERANCE = 2.0


class OpenVinoLanguage:
    """The `LanguageRuntime` of `openvino`, on the CPU."""

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why it cannot run this variant."""
        return _missing() or _family_refusal(description) or _weights_refusal(description["quantization"] or {})

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
        from overwinter.runtime.torch_language import TorchLanguageSession, as_module

        method = _method(load_description(model_folder))
        model = as_module(model_folder, trusted=trusted)
        if method == INPUT_FILE:
            _write_as_read(model, model_folder / GIVEN_FILE, out)
        else:
            _write(model, out, _weights(model, model_folder / GIVEN_FILE if method == AS_GIVEN else None))
        (tokens,) = named(examples).values()
        check_language(
            OpenVinoLanguageSession(out, threads=1),
            TorchLanguageSession(model),
            np.asarray(tokens),
            tolerance=_tolerance(method),
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


def _method(description: Mapping[str, Any]) -> str | None:
    """Return the method of the quantization, or None of a float model."""
    quantization = description["quantization"]
    return None if quantization is None else str(quantization.get("method"))


def _weights_refusal(quantization: Mapping[str, Any]) -> str | None:
    if quantization.get("method") in GIVEN:
        formats = re.findall(r"\b[A-Z]+\d\w*", str(quantization.get("formats")))
        unread = [each for each in formats if each not in _READ_FORMATS]
        if unread and quantization["method"] == INPUT_FILE:
            return f"openvino-genai does not read the format {unread[0]}; it reads {', '.join(_READ_FORMATS)}"
        return None
    if quantization and "layers" not in quantization:
        return f"its weights were quantized by {quantization.get('method')!r} in a form of its own"
    for name, entry in quantization.get("layers", {}).items():
        if entry["activations"] is not None or entry["smoothed"]:
            return f"the layer {name} quantizes its input, for which OpenVINO has rules of its own"
    return None


def _tolerance(method: str | None) -> float:
    if method is None:
        return _TOLERANCE
    return _READ_TOLERANCE if method == INPUT_FILE else _QUANTIZED_TOLERANCE


def _write_as_read(model: CausalLanguageModel, gguf: Path, out: Path) -> None:
    """Write the graph that openvino-genai makes of a file, with the weights as it reads them."""
    from overwinter.runtime.openvino_graph import made_graph, save_graph

    with tempfile.TemporaryDirectory(prefix="overwinter-") as folder:
        link = Path(folder) / GIVEN_FILE
        link.symlink_to(gguf.resolve())
        save_graph(made_graph(link), out / GRAPH, context_tokens=_context(model))


def _write(model: CausalLanguageModel, out: Path, weight: Callable[[str], Any]) -> None:
    """Write a graph with the weights (`_weights`) of a model."""
    from overwinter.formats import write_skeleton
    from overwinter.runtime.openvino_graph import made_graph, replace_weights, save_graph

    with tempfile.TemporaryDirectory(prefix="overwinter-") as folder:
        skeleton = Path(folder) / "skeleton.gguf"
        marked = write_skeleton(model, skeleton)
        graph = made_graph(skeleton)
        replace_weights(graph, marked, weight)
        save_graph(graph, out / GRAPH, context_tokens=_context(model))


def _context(model: CausalLanguageModel) -> int:
    return int(model.network.config.max_position_embeddings)


def _weights(model: CausalLanguageModel, given: Path | None) -> Callable[[str], Any]:
    """Return what makes the node of a tensor: of a GGUF file's own integers, of integer layers, or of floats."""
    from overwinter.models import IntegerLayer
    from overwinter.models.gguf_integers import read_integers
    from overwinter.runtime.openvino_weights import float_weight, given_weight, integer_weight

    integers = {} if given is None else read_integers(given)

    def weight(name: str) -> Any:
        owner, _, part = name.rpartition(".")
        layer = model.network.get_submodule(owner)
        if part == "weight" and f"network.{owner}" in integers:
            return given_weight(integers[f"network.{owner}"])
        if part == "weight" and isinstance(layer, IntegerLayer):
            return integer_weight(layer)
        values = getattr(layer, part).detach().float().cpu().numpy()
        return float_weight(values, half=values.ndim > 1)

    return weight
