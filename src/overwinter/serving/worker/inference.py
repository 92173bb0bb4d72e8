"""Inference requests of the Open Inference Protocol v2 with a woken model, with JSON or binary tensors.

https://github.com/open-inference/open-inference-protocol and, for binary tensors,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A model takes one of two inputs: `input`, a batch of model inputs (FP32), or `raw`, a batch of unprocessed samples,
which is preprocessed as its bundle records. The outputs are `logits`, and the `label` and `probability` of the most
probable class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from overwinter.bundle.load import AwakeModel
from overwinter.data import prepare
from overwinter.runtime import Array, softmax
from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import Reply, RequestError, json_reply
from overwinter.serving.worker.tensors import Tensor, parameters, read_tensor

_JSON_LENGTH = "inference-header-content-length"
_MAX_LENGTH = 20  # digits
_OUTPUTS = ("logits", "label", "probability")
_AT_ONCE = 1 << 20  # values of model inputs: an unlimited batch would take memory in every layer
_NOT_OFFERED = ("classification", "shared_memory_region")  # they would change the format of a response


def infer(model: AwakeModel, headers: Mapping[str, str], body: bytes, *, name: str, max_values: int) -> Reply:
    """Return the reply to a request.

    Args:
        model: The woken model.
        headers: The headers in lower case; `inference-header-content-length` is the length of the JSON.
        body: The JSON, and binary tensors after it.
        name: The model's name for clients.
        max_values: The maximum number of values of the JSON, and of the response.

    Raises:
        RequestError: 400, the request is not valid, or does not fit the model; 413, it is too large.
        ConfigError: Raw values are out of range.
    """
    request, binary = _parsed(headers, body, max_values)
    wanted = _wanted(request)
    samples = _samples(model, read_tensor(_input(request), binary))
    if len(samples) * max(1, len(model.bundle.labels)) > max_values:
        raise RequestError(413, f"`shape` has {len(samples)} samples; send fewer at once (serve.limits.json_values).")
    with np.errstate(all="ignore"):  # non-finite values have their own error
        logits = np.concatenate([model.run(inputs) for inputs in _batches(model, request, samples)])
    if not np.isfinite(logits).all():
        raise RequestError(400, "`data` is too large for the model: its output is not finite.")
    tensors = {tensor.description["name"]: tensor for tensor in _outputs(model, logits)}
    content = {"model_name": name, "model_version": model.bundle.digest[:12]} | _id(request)
    return _reply(content, [(tensors[each], as_binary) for each, as_binary in wanted.items()])


def _parsed(headers: Mapping[str, str], body: bytes, max_values: int) -> tuple[dict[str, Any], bytes]:
    length = headers.get(_JSON_LENGTH, str(len(body)))
    if not (length.isascii() and length.isdigit() and len(length) < _MAX_LENGTH and int(length) <= len(body)):
        raise RequestError(400, f"Inference-Header-Content-Length: {length[:40]!r} must be at most the body's length.")
    return parse_object(body[: int(length)], max_values=max_values), body[int(length) :]


def _id(request: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(request.get("id", ""), str):
        raise RequestError(400, f"`id` must be a text, not {shown(request['id'])}.")
    return {"id": request["id"]} if "id" in request else {}


def _input(request: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(400, f"`inputs` must hold one tensor, named `input` or `raw`, not {shown(inputs)}.")
    if inputs[0].get("name") not in ("input", "raw"):
        raise RequestError(400, f"`inputs[0].name` {shown(inputs[0].get('name'))} is unknown. Known: input, raw.")
    return inputs[0]


def _samples(model: AwakeModel, tensor: Tensor) -> Array:
    """Return the samples (batch, ...), with their shape checked, but not yet their values."""
    bundle, values = model.bundle, tensor.values
    if tensor.description["name"] == "input":
        if values.shape[1:] != bundle.input_shape or tensor.description["datatype"] != "FP32":
            came = f"{tensor.description['datatype']} {list(values.shape)}"
            raise RequestError(400, f"`input` must be FP32 {[-1, *bundle.input_shape]}, not {came}.")
        return values
    shapes = _raw_shapes(bundle.preprocessing, bundle.input_shape)
    if values.shape in shapes:
        return values[np.newaxis]
    if values.shape[1:] not in shapes:
        expected = " or ".join(str([-1, *shape]) for shape in shapes)
        raise RequestError(400, f"`raw` must be {expected}, not {list(values.shape)}.")
    return values


def _raw_shapes(preprocessing: Mapping[str, Any], input_shape: Sequence[int]) -> list[tuple[int, ...]]:
    declared = preprocessing.get("raw", {}).get("shape")
    return list(dict.fromkeys(tuple(shape) for shape in (declared, input_shape) if shape is not None))


def _batches(model: AwakeModel, request: Mapping[str, Any], samples: Array) -> Iterator[Array]:
    """Yield model inputs (batch, *input shape), float32, in batches of limited size."""
    raw = request["inputs"][0]["name"] == "raw"
    size = max(1, _AT_ONCE // max(1, math.prod(samples.shape[1:])))
    for begin in range(0, len(samples), size):
        batch = samples[begin : begin + size]
        inputs = prepare(batch, model.bundle.preprocessing, model.bundle.input_shape) if raw else batch
        if not np.isfinite(inputs).all():
            raise RequestError(400, "`data` holds values that are not finite, or too large for the model.")
        yield inputs


def _wanted(request: Mapping[str, Any]) -> dict[str, bool]:
    """Return the names of the requested outputs, each with whether it is returned as bytes."""
    by_default = _flag(request, "binary_data_output", default=False)
    outputs = request.get("outputs")
    if outputs is not None and not (isinstance(outputs, list) and all(isinstance(each, dict) for each in outputs)):
        raise RequestError(400, "`outputs` must be a list of objects with a `name`.")
    wanted = {}
    for output in outputs or [{"name": name} for name in _OUTPUTS]:
        if output.get("name") not in _OUTPUTS:
            known = ", ".join(_OUTPUTS)
            raise RequestError(400, f"`outputs` names {shown(output.get('name'))}, which is unknown. Known: {known}.")
        for key in _NOT_OFFERED:
            if key in parameters(output):
                raise RequestError(400, f"`{key}` is not supported: leave it out.")
        wanted[output["name"]] = _flag(output, "binary_data", default=by_default)
    return wanted


def _flag(holder: Mapping[str, Any], key: str, *, default: bool) -> bool:
    given = parameters(holder).get(key, default)
    if not isinstance(given, bool):
        raise RequestError(400, f"`{key}` must be true or false, not {shown(given)}.")
    return given


def _outputs(model: AwakeModel, logits: Array) -> list[Tensor]:
    shares = softmax(logits)  # (batch, classes)
    labels = np.array([model.bundle.labels[place] for place in logits.argmax(axis=1)], dtype=object)
    named = (("logits", "FP32", logits), ("label", "BYTES", labels), ("probability", "FP32", shares.max(axis=1)))
    return [
        Tensor({"name": name, "datatype": datatype, "shape": list(values.shape)}, values)
        for name, datatype, values in named
    ]


def _reply(content: dict[str, Any], tensors: list[tuple[Tensor, bool]]) -> Reply:
    outputs, parts = [], []
    for tensor, as_binary in tensors:
        if as_binary:
            parts.append(_to_bytes(tensor.values))
            outputs.append({**tensor.description, "parameters": {"binary_data_size": len(parts[-1])}})
        else:
            outputs.append({**tensor.description, "data": tensor.values.ravel().tolist()})
    reply = json_reply({**content, "outputs": outputs})
    if not parts:
        return reply
    assert isinstance(reply.body, bytes)  # noqa: S101 -- json_reply has one body
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(reply.body))}
    return Reply(headers=headers, body=b"".join([reply.body, *parts]))


def _to_bytes(values: Array) -> bytes:
    if values.dtype != object:
        return values.astype("<f4").tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
