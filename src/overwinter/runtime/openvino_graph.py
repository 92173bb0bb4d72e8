"""A language model's graph from openvino-genai, with our weights in it: the file that the session runs.

openvino-genai makes graphs from GGUF files of the families llama, qwen2 and qwen3. It gets a skeleton
(`overwinter.formats.write_skeleton`), whose constants are then replaced; so weights need no form in GGUF, and none is
rounded on the way.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as opset

from overwinter.errors import ConfigError
from overwinter.formats import Marked
from overwinter.inputs import Array
from overwinter.runtime.cpu import multiplies_bfloat16_tiles
from overwinter.runtime.openvino_language_session import CONTEXT, FROM, GRAPH, PRECISION

# A device that does not exist: the graph is saved before it would be compiled, which is not needed.
_SCRIPT = "import sys, openvino_genai as genai\ngenai.LLMPipeline(sys.argv[1], 'NONE', enable_save_ov_model=True)\n"
_TIMEOUT_S = 3600


def made_graph(gguf: Path) -> Any:
    """Return the graph that openvino-genai makes from a GGUF file; it is written beside it.

    Raises:
        ConfigError: it makes none from this file.
    """
    made = gguf.with_name(GRAPH)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(gguf)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if not made.is_file():
        reason = " ".join((done.stderr or done.stdout).split())[-300:]
        raise ConfigError(
            f"openvino-genai cannot read the model as GGUF: {reason}\nRemove openvino from evaluate.runtimes."
        )
    return openvino.Core().read_model(made)


def save_graph(model: Any, path: Path, *, context_tokens: int) -> None:
    """Write a graph, with an input for the position from which logits are computed, and what it computes in."""
    _add_start(model)
    model.set_rt_info(context_tokens, list(CONTEXT))
    model.set_rt_info(_fastest_precision(model), list(PRECISION))
    _number(model)
    openvino.save_model(model, path, compress_to_fp16=False)


def replace_weights(model: Any, marked: Sequence[Marked], weight: Callable[[str], Any]) -> None:
    """Replace the constants of a skeleton's graph.

    Args:
        model: the graph; it is changed.
        marked: the skeleton's tensors.
        weight: name of a tensor -> node of its shape, float32.

    Raises:
        ConfigError: a tensor is not in the graph, so the reader does not use all of the model.
    """
    wanted = {tensor.mark: tensor for tensor in marked}
    found: dict[str, list[Any]] = {}
    known: dict[str, bool] = {}
    for constant in list(_constants(model)):
        tensor = _marked(constant, wanted)
        if tensor is not None:
            found.setdefault(tensor.name, []).append(_end(constant, known))
    lacking = sorted({tensor.name for tensor in marked} - set(found))
    if lacking:
        raise ConfigError(
            f"openvino-genai's graph of this model lacks {lacking[0]}. Remove openvino from evaluate.runtimes."
        )
    for tensor in marked:
        for old in found[tensor.name]:
            _replace(old, weight(tensor.name))
    model.validate_nodes_and_infer_types()


def _fastest_precision(model: Any) -> str:
    """Return what a graph that is made on this machine computes in: bf16 on a CPU with AMX, else f32.

    With AMX a prompt of 512 tokens then takes a third of the time, and predictions are closer to float32's, since no
    input is rounded to 8 bits: 0.0015 nats instead of 0.0045 (SmolLM2 in 4 bits, one thread). A graph with matrices of
    floats stays in f32: OpenVINO 2026.4 ends the process when it compiles one in bf16 for one thread.
    """
    if not multiplies_bfloat16_tiles() or any(_is_matrix(constant) for constant in _constants(model)):
        return "f32"
    return "bf16"


def _is_matrix(constant: Any) -> bool:
    """Whether it is a matrix of floats, not scales of groups, which have a last axis of 1."""
    shape = list(constant.get_output_shape(0))
    return len(shape) > 1 and min(shape[-2:]) > 1


def _add_start(model: Any) -> None:
    """Let the head compute the logits of the last positions only: reading a prompt needs one row."""
    start = opset.parameter([1], np.int64, name=FROM)
    start.output(0).set_names({FROM})
    head = next(
        node
        for node in reversed(model.get_ordered_ops())
        if node.get_type_name() == "MatMul" and not _is_fixed(node, {})
    )
    whole = head.input_value(0)
    end, step, axis = (np.array([each], dtype=np.int64) for each in (np.iinfo(np.int64).max, 1, 1))
    head.input(0).replace_source_output(opset.slice(whole, start, end, step, axis).output(0))
    model.add_parameters([start])
    model.validate_nodes_and_infer_types()


def _number(model: Any) -> None:
    """Name nodes by their order: OpenVINO's own numbers depend on what the process made before."""
    for place, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{place}")


def _constants(model: Any) -> Iterator[Any]:
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_output_element_type(0) in (
            openvino.Type.f16,
            openvino.Type.f32,
        ):
            yield node


def _marked(constant: Any, wanted: Mapping[float, Marked]) -> Marked | None:
    """Return the tensor whose mark fills a constant of its size."""
    values: Array = constant.data
    if values.size == 0:
        return None
    tensor = wanted.get(float(values.flat[0]))
    if tensor is None or values.size != tensor.marks or not (values == values.flat[0]).all():
        return None
    return tensor


def _end(constant: Any, known: dict[str, bool]) -> Any:
    """Return the last node that only constants lead to: where a weight is whole."""
    node = constant
    while True:
        users = [port.get_node() for port in node.output(0).get_target_inputs()]
        if len(users) != 1 or not _is_fixed(users[0], known):
            return node
        node = users[0]


def _is_fixed(node: Any, known: dict[str, bool]) -> bool:
    """Whether a node's value does not depend on the graph's inputs or state; ``known``: of the nodes asked before."""
    name = node.get_friendly_name()
    if name not in known:
        inputs = [port.get_node() for port in node.input_values()]
        known[name] = node.get_type_name() == "Constant" or (
            bool(inputs)
            and node.get_type_name() not in ("ReadValue", "ShapeOf")
            and all(_is_fixed(each, known) for each in inputs)
        )
    return known[name]


def _replace(old: Any, new: Any) -> None:
    shape = [int(each) for each in old.get_output_shape(0)]
    if list(new.get_output_shape(0)) != shape:
        new = opset.reshape(new, np.array(shape), special_zero=False)
    if old.get_output_element_type(0) != new.get_output_element_type(0):
        new = opset.convert(new, old.get_output_element_type(0).to_string())
    old.output(0).replace(new.output(0))
