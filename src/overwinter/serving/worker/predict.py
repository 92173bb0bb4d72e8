"""Predictions with a woken model: samples in JSON, or one file or text, and what the task says of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.bundle.load import AwakeModel
from overwinter.data.preprocessing import Normalize
from overwinter.inputs import Array, Inputs, unnamed
from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import Reply, RequestError, json_reply
from overwinter.serving.tensors_of import input_tensors
from overwinter.serving.worker.raw_requests import IMAGE, TEXT, file_of, numbers_of, text_of
from overwinter.serving.worker.running import Outputs, Runner
from overwinter.serving.worker.tensors import array_of

_JSON = "application/json"


def predict(
    model: AwakeModel,
    headers: Mapping[str, str],
    body: bytes,
    *,
    name: str,
    max_values: int,
    within_s: float = math.inf,
) -> Reply:
    """Return the reply to a request: `{"predictions": [...]}`, one for each sample.

    Args:
        model: The woken model.
        headers: The headers in lower case; `content-type` says what the body is.
        body: JSON, `{"instances": [...]}`, or one file or text. An instance is a raw sample, or a model input by name.
        name: The model's name for clients.
        max_values: The maximum number of values of the JSON, and of the outputs.
        within_s: The time limit of the response.

    Raises:
        RequestError: 400, the request is not valid, or does not fit the model; 413, it is too large.
    """
    runner = Runner(model, max_values=max_values, within_s=within_s)
    if headers.get("content-type", _JSON) == _JSON:
        outputs = _of_instances(model, runner, parse_object(body, max_values=max_values).get("instances"))
    else:
        kind = None if model.preprocessing is None else model.preprocessing.kind
        outputs = runner.of_raw([text_of("The body", body) if kind == TEXT else body])
    content = {"model_name": name, "model_version": model.bundle.digest[:12]}
    return json_reply({**content, "predictions": [model.task.respond(output) for output in outputs]})


def _of_instances(model: AwakeModel, runner: Runner, instances: Any) -> Outputs:
    if not isinstance(instances, list) or not instances:
        raise RequestError(
            400, f'`instances` must be a list of samples, as in {{"instances": [...]}}, not {shown(instances)}.'
        )
    names = set(model.bundle.signature.names)
    by_name = all(isinstance(each, dict) and set(each) == names for each in instances)
    if by_name or model.preprocessing is None:
        return runner.of_inputs(_inputs(model, instances, by_name=by_name))
    if not isinstance(model.preprocessing, Normalize):
        read = file_of if model.preprocessing.kind == IMAGE else text_of
        return runner.of_raw([read(f"instances[{place}]", each) for place, each in enumerate(instances)])
    return runner.of_raw(numbers_of("instances", array_of(instances, "FP64", "`instances`"), model.preprocessing))


def _inputs(model: AwakeModel, instances: Sequence[Any], *, by_name: bool) -> Inputs:
    """Return model inputs (n, ...) of instances that hold one sample of each."""
    tensors = input_tensors(model.bundle)
    if not by_name and len(tensors) > 1:
        names = ", ".join(tensor["name"] for tensor in tensors)
        raise RequestError(400, f"An instance must be an object with {names}, not {shown(instances[0])}.")
    found: dict[str, Array] = {}
    for tensor, spec in zip(tensors, model.bundle.signature.inputs, strict=True):
        name = tensor["name"]
        rows = [each[name] for each in instances] if by_name else list(instances)
        values = array_of(rows, tensor["datatype"], f"`{name}`")
        if not spec.fits_shape(values.shape):
            raise RequestError(
                400, f"`{name}` must be {tensor['datatype']} {tensor['shape']}, not {list(values.shape)}."
            )
        found[name] = values
    inputs: Inputs = unnamed(found)
    return inputs
