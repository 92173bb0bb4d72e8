"""One inference request of the Open Inference Protocol v2, with JSON or binary tensors, asked of a woken model.

https://github.com/open-inference/open-inference-protocol and, for binary tensors,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A model takes one of two inputs: `input`, a batch of model inputs (FP32), or `raw`, a batch of what it was
measured on, which is preprocessed as its bundle records. It gives `logits`, and the `label` and `probability`
of the likeliest class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from overwinter.hibernation.waking import AwakeModel
from overwinter.serving import Array, prepare
from overwinter.serving.server.messages import Reply, RequestError, json_reply

_JSON_LENGTH = "inference-header-content-length"
_TYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_OUTPUTS = ("logits", "label", "probability")


class _Tensor(NamedTuple):
    description: dict[str, Any]
    values: Array


def infer(model: AwakeModel, headers: Mapping[str, str], body: bytes) -> Reply:
    """Answer a request.

    Args:
        model: awake.
        headers: in lower case; `inference-header-content-length` says where binary tensors begin.
        body: JSON, and binary tensors after it.

    Raises:
        RequestError: 400, the request is none of this protocol, or does not fit the model.
        ConfigError: raw values are out of range.
    """
    request, binary = _parsed(headers, body)
    values = _model_input(model, _input(request, binary))
    wanted = _wanted(request)
    tensors = {tensor.description["name"]: tensor for tensor in _outputs(model, model.run(values))}
    content = {key: request[key] for key in ("id",) if key in request}
    return _reply(content, [(tensors[name], as_binary) for name, as_binary in wanted.items()])


def _parsed(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], bytes]:
    length = headers.get(_JSON_LENGTH, str(len(body)))
    if not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise RequestError(400, f"Inference-Header-Content-Length: {length[:40]!r} must be at most the body's length.")
    try:
        request = json.loads(body[: int(length)])
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"The body is no JSON: {error}.") from None
    if not isinstance(request, dict):
        raise RequestError(400, "The body must be a JSON object with `inputs`.")
    return request, body[int(length) :]


def _input(request: Mapping[str, Any], binary: bytes) -> _Tensor:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(400, "`inputs` must hold one tensor, named `input` or `raw`.")
    description = inputs[0]
    kind = _TYPES.get(str(description.get("datatype")))
    if kind is None:
        known = ", ".join(_TYPES)
        raise RequestError(400, f"The datatype {description.get('datatype')!r} is unknown. Known: {known}.")
    shape = description.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise RequestError(400, f"The shape {shape!r} must be a list of whole numbers.")
    values = _values(description, np.dtype(kind), binary)
    if values.size != math.prod(shape):
        raise RequestError(400, f"The shape {shape} needs {math.prod(shape)} values; {values.size} came.")
    return _Tensor(description, values.reshape(shape))


def _values(description: Mapping[str, Any], kind: np.dtype[Any], binary: bytes) -> Array:
    size_bytes = _parameters(description).get("binary_data_size")
    if size_bytes is not None:
        if size_bytes != len(binary) or len(binary) % kind.itemsize:
            raise RequestError(400, f"binary_data_size={size_bytes!r}, but {len(binary)} bytes came after the JSON.")
        return np.frombuffer(binary, kind)
    if binary or "data" not in description:
        raise RequestError(400, "A tensor needs `data`, or the parameter `binary_data_size` and bytes after the JSON.")
    try:
        given = np.asarray(description["data"])
        if given.size and given.dtype.kind not in "biuf":
            raise RequestError(400, "`data` must hold numbers only.")
        with np.errstate(over="ignore"):
            values = given.astype(kind)
    except (ValueError, OverflowError) as error:
        raise RequestError(400, f"`data` is no array of numbers: {error}.") from None
    if kind.kind in "iu" and not np.array_equal(values, given):
        raise RequestError(400, f"`data` holds values that are no {description['datatype']}.")
    return values


def _model_input(model: AwakeModel, tensor: _Tensor) -> Array:
    """Return (batch, *input shape), float32."""
    name, values = tensor.description.get("name"), tensor.values
    bundle = model.bundle
    if name == "raw":
        prepared = prepare(values, bundle.preprocessing, bundle.input_shape)
        if not np.isfinite(prepared).all():
            raise RequestError(400, "The input is too large for the model.")
        return prepared
    if name != "input":
        raise RequestError(400, f"The input {name!r} is unknown. Known: input, raw.")
    if values.shape[1:] != bundle.input_shape or tensor.description["datatype"] != "FP32":
        expected = [-1, *bundle.input_shape]
        raise RequestError(
            400, f"`input` must be FP32 {expected}, not {tensor.description['datatype']} {values.shape}."
        )
    if not np.isfinite(values).all():
        raise RequestError(400, "The input holds NaN or infinite values.")
    return values


def _wanted(request: Mapping[str, Any]) -> dict[str, bool]:
    """Return the names of the wanted outputs, each with whether it goes back as bytes."""
    by_default = _parameters(request).get("binary_data_output") is True
    outputs = request.get("outputs") or [{"name": name} for name in _OUTPUTS]
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise RequestError(400, "`outputs` must be a list of objects with a `name`.")
    wanted = {}
    for output in outputs:
        if output.get("name") not in _OUTPUTS:
            raise RequestError(400, f"The output {output.get('name')!r} is unknown. Known: {', '.join(_OUTPUTS)}.")
        wanted[output["name"]] = _parameters(output).get("binary_data", by_default) is True
    return wanted


def _parameters(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestError(400, "`parameters` must be an object.")
    return parameters


def _outputs(model: AwakeModel, logits: Array) -> list[_Tensor]:
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)  # (batch, classes)
    labels = np.array([model.bundle.labels[place] for place in logits.argmax(axis=1)], dtype=object)
    named = (("logits", "FP32", logits), ("label", "BYTES", labels), ("probability", "FP32", shares.max(axis=1)))
    return [
        _Tensor({"name": name, "datatype": datatype, "shape": list(values.shape)}, values)
        for name, datatype, values in named
    ]


def _reply(content: dict[str, Any], tensors: list[tuple[_Tensor, bool]]) -> Reply:
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
    assert isinstance(reply.body, bytes)  # noqa: S101 -- json_reply answers in one piece
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(reply.body))}
    return Reply(headers=headers, body=b"".join([reply.body, *parts]))


def _to_bytes(values: Array) -> bytes:
    if values.dtype != object:
        return values.astype("<f4").tobytes()
    texts = [str(value).encode() for value in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
