"""The tensors of a model in the Open Inference Protocol: its signature's inputs, and its task's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overwinter.bundle import BundleFacts
    from overwinter.signature import TensorSpec

DATATYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}
RAW = "raw"
LOGITS, LABEL, PROBABILITY, RESPONSE = "logits", "label", "probability", "response"
_OF_CLASSES = ("classification", "multilabel", "token_classification", "segmentation")


def input_tensors(facts: BundleFacts) -> list[dict[str, Any]]:
    """Return the model's inputs by name, datatype and shape, -1 for an axis that varies."""
    return [_tensor(spec.name, spec) for spec in facts.signature.inputs]


def output_tensors(facts: BundleFacts) -> list[dict[str, Any]]:
    """Return what a response can hold: the model's output, and what the task says of it.

    A classifier's output is called `logits`, and its task says `label` and `probability`; any other task says
    `response`, the JSON of `overwinter.tasks.Task.respond` for each sample.
    """
    spec = facts.signature.outputs[0]
    name = facts.task.get("name")
    outputs = [_tensor(LOGITS if name in _OF_CLASSES else spec.name, spec)]
    if name == "classification":
        return [
            *outputs,
            {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
            {"name": PROBABILITY, "datatype": "FP32", "shape": [-1]},
        ]
    return [*outputs, {"name": RESPONSE, "datatype": "BYTES", "shape": [-1]}]


def _tensor(name: str, spec: TensorSpec) -> dict[str, Any]:
    shape = [-1 if side is None else side for side in spec.shape]
    return {"name": name, "datatype": DATATYPES[spec.dtype], "shape": shape}
