"""Inference requests of the Open Inference Protocol v2 with a woken model, with JSON or binary tensors.

https://github.com/open-inference/open-inference-protocol and, for binary tensors,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A request gives all inputs of the model's signature, or `raw`, a batch of unprocessed samples, which is preprocessed as
the bundle records. The outputs are those of `overwinter.serving.tensors_of`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from overwinter.bundle.load import AwakeModel
from overwinter.inputs import Array, Inputs, unnamed
from overwinter.runtime import softmax
from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import Reply, RequestError, json_reply
from overwinter.serving.tensors_of import LABEL, PROBABILITY, RAW, RESPONSE, input_tensors, output_tensors
from overwinter.serving.worker.raw_requests import raw_of_tensor
from overwinter.serving.worker.running import Outputs, Runner
from overwinter.serving.worker.tensors import BYTES, Tensor, parameters, read_tensors

_JSON_LENGTH = "inference-header-content-length"
_MAX_LENGTH = 20  # digits
_NOT_OFFERED = ("classification", "shared_memory_region")  # they would change the format of a response


def infer(
    model: AwakeModel,
    headers: Mapping[str, str],
    body: bytes,
    *,
    name: str,
    max_values: int,
    within_s: float = math.inf,
) -> Reply:
    """Return the reply to a request.

    Args:
        model: The woken model.
        headers: The headers in lower case; `inference-header-content-length` is the length of the JSON.
        body: The JSON, and binary tensors after it.
        name: The model's name for clients.
        max_values: The maximum number of values of the JSON, and of the response.
        within_s: The time limit of the response.

    Raises:
        RequestError: 400, the request is not valid, or does not fit the model; 413, it is too large.
    """
    request, binary = _parsed(headers, body, max_values)
    offered = {tensor["name"]: tensor for tensor in output_tensors(model.bundle)}
    wanted = _wanted(request, offered)
    given = _by_name(request, binary)
    runner = Runner(model, max_values=max_values, within_s=within_s)
    if model.preprocessing is not None and _is_raw(model, given):
        outputs = runner.of_raw(raw_of_tensor(model.preprocessing, given[RAW]))
    else:
        _check_names(model, given)
        outputs = runner.of_inputs(_inputs(model, given))
    content = {"model_name": name, "model_version": model.bundle.digest[:12]} | _id(request)
    said = _Said(model, outputs)
    return _reply(content, [(said.tensor(offered[each]), as_binary) for each, as_binary in wanted.items()])


def _parsed(headers: Mapping[str, str], body: bytes, max_values: int) -> tuple[dict[str, Any], bytes]:
    length = headers.get(_JSON_LENGTH, str(len(body)))
    if not (length.isascii() and length.isdigit() and len(length) < _MAX_LENGTH and int(length) <= len(body)):
        raise RequestError(400, f"Inference-Header-Content-Length: {length[:40]!r} must be at most the body's length.")
    return parse_object(body[: int(length)], max_values=max_values), body[int(length) :]


def _id(request: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(request.get("id", ""), str):
        raise RequestError(400, f"`id` must be a text, not {shown(request['id'])}.")
    return {"id": request["id"]} if "id" in request else {}


def _by_name(request: Mapping[str, Any], binary: bytes) -> dict[str, Tensor]:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(isinstance(each, dict) for each in inputs):
        raise RequestError(400, f"`inputs` must hold one tensor or more, not {shown(inputs)}.")
    names = [each.get("name") for each in inputs]
    for place, name in enumerate(names):
        if not isinstance(name, str) or name in names[:place]:
            raise RequestError(400, f"`inputs[{place}].name` must be a name, and no other's, not {shown(name)}.")
    return dict(zip(names, read_tensors(inputs, binary), strict=True))


def _is_raw(model: AwakeModel, given: Mapping[str, Tensor]) -> bool:
    """Return whether a request gives raw samples."""
    return set(given) == {RAW} and RAW not in model.bundle.signature.names


def _check_names(model: AwakeModel, given: Mapping[str, Tensor]) -> None:
    """Refuse inputs that are not the model's."""
    names = model.bundle.signature.names
    unknown, missing = [each for each in given if each not in names], [each for each in names if each not in given]
    if unknown or missing:
        known = ", ".join(names) + (", or raw" if model.preprocessing is not None else "")
        what = f"{shown(unknown[0])} is unknown" if unknown else f"{missing[0]!r} is missing"
        raise RequestError(400, f"`inputs`: {what}. The model takes {known}.")


def _inputs(model: AwakeModel, given: Mapping[str, Tensor]) -> Inputs:
    """Return the model's inputs, with their datatypes and shapes checked, but not yet their values."""
    for expected, spec in zip(input_tensors(model.bundle), model.bundle.signature.inputs, strict=True):
        tensor, name = given[expected["name"]], expected["name"]
        datatype = tensor.description["datatype"]
        if datatype != expected["datatype"] or not spec.fits_shape(tensor.values.shape):
            came = f"{datatype} {list(tensor.values.shape)}"
            raise RequestError(400, f"`{name}` must be {expected['datatype']} {expected['shape']}, not {came}.")
    counts = {name: len(tensor.values) for name, tensor in given.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {samples}" for name, samples in counts.items())
        raise RequestError(400, f"The inputs have different numbers of samples: {said}.")
    inputs: Inputs = unnamed({name: given[name].values for name in model.bundle.signature.names})
    return inputs


def _wanted(request: Mapping[str, Any], offered: Mapping[str, Any]) -> dict[str, bool]:
    """Return the names of the requested outputs, each with whether it is returned as bytes."""
    by_default = _flag(request, "binary_data_output", default=False)
    outputs = request.get("outputs")
    if outputs is not None and not (isinstance(outputs, list) and all(isinstance(each, dict) for each in outputs)):
        raise RequestError(400, "`outputs` must be a list of objects with a `name`.")
    wanted = {}
    for output in outputs or [{"name": name} for name in offered]:
        name = output.get("name")
        if not isinstance(name, str) or name not in offered:
            known = ", ".join(offered)
            raise RequestError(400, f"`outputs` names {shown(name)}, which is unknown. Known: {known}.")
        for key in _NOT_OFFERED:
            if key in parameters(output):
                raise RequestError(400, f"`{key}` is not supported: leave it out.")
        wanted[name] = _flag(output, "binary_data", default=by_default)
    return wanted


def _flag(holder: Mapping[str, Any], key: str, *, default: bool) -> bool:
    given = parameters(holder).get(key, default)
    if not isinstance(given, bool):
        raise RequestError(400, f"`{key}` must be true or false, not {shown(given)}.")
    return given


class _Said:
    """The tensors of a response."""

    def __init__(self, model: AwakeModel, outputs: Outputs) -> None:
        self._model, self._outputs = model, outputs

    def tensor(self, offered: Mapping[str, Any]) -> Tensor:
        """Return an offered output."""
        values = self._values(offered["name"])
        described = {"name": offered["name"], "datatype": offered["datatype"], "shape": list(values.shape)}
        return Tensor(described, values)

    def _values(self, name: str) -> Array:
        outputs = self._outputs.values
        if name == LABEL:
            labels = self._model.bundle.labels
            return np.array([labels[place] for place in outputs.argmax(axis=1)], dtype=object)
        if name == PROBABILITY:
            probabilities: Array = softmax(outputs).max(axis=1)
            return probabilities
        if name == RESPONSE:
            return np.array([json.dumps(self._model.task.respond(each)) for each in self._outputs], dtype=object)
        return outputs


def _reply(content: dict[str, Any], tensors: list[tuple[Tensor, bool]]) -> Reply:
    outputs, parts = [], []
    for tensor, as_binary in tensors:
        if as_binary:
            parts.append(_to_bytes(tensor))
            outputs.append({**tensor.description, "parameters": {"binary_data_size": len(parts[-1])}})
        else:
            outputs.append({**tensor.description, "data": tensor.values.ravel().tolist()})
    reply = json_reply({**content, "outputs": outputs})
    if not parts:
        return reply
    assert isinstance(reply.body, bytes)  # noqa: S101 -- json_reply has one body
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(reply.body))}
    return Reply(headers=headers, body=b"".join([reply.body, *parts]))


def _to_bytes(tensor: Tensor) -> bytes:
    if tensor.description["datatype"] != BYTES:
        return tensor.values.astype("<f4").tobytes()
    texts = [str(value).encode() for value in tensor.values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
