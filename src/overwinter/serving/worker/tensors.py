"""Conversion of untrusted tensors of the Open Inference Protocol v2, in JSON or binary, to numpy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from overwinter.runtime import Array
from overwinter.serving.bounded_json import shown
from overwinter.serving.messages import RequestError

TYPES = {
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
_MAX_AXES, _MAX_AXIS = 32, 1 << 31
_SIZE = "binary_data_size"


class Tensor(NamedTuple):
    """The description of a tensor, and its values."""

    description: Mapping[str, Any]
    values: Array


def read_tensor(description: Mapping[str, Any], binary: bytes) -> Tensor:
    """Return the one tensor of a request.

    Args:
        description: Its `datatype`, `shape`, and `data` or the parameter `binary_data_size`.
        binary: The bytes after the JSON.

    Raises:
        RequestError: 400, a field is wrong, or fields contradict each other.
    """
    datatype, shape = description.get("datatype"), description.get("shape")
    kind = TYPES.get(datatype) if isinstance(datatype, str) else None
    if kind is None:
        raise RequestError(400, f"`datatype` {shown(datatype)} is unknown. Known: {', '.join(TYPES)}.")
    if not isinstance(shape, list) or len(shape) > _MAX_AXES or not all(map(_is_size, shape)):
        raise RequestError(400, f"`shape` must be a list of whole numbers from 0, not {shown(shape)}.")
    values = _values(description, np.dtype(kind), binary)
    if values.size != math.prod(shape):
        raise RequestError(400, f"`shape` {shown(shape)} needs {math.prod(shape)} values, but there are {values.size}.")
    if not values.size:
        raise RequestError(400, f"`shape` {shown(shape)} has no sample.")
    return Tensor(description, values.reshape(shape))


def parameters(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a request or of a tensor.

    Raises:
        RequestError: 400, they are not an object.
    """
    given = holder.get("parameters")
    if given is not None and not isinstance(given, dict):
        raise RequestError(400, f"`parameters` must be an object, not {shown(given)}.")
    return given or {}


def _is_size(size: Any) -> bool:
    return type(size) is int and 0 <= size < _MAX_AXIS


def _values(description: Mapping[str, Any], kind: np.dtype[Any], binary: bytes) -> Array:
    size_bytes = parameters(description).get(_SIZE)
    if size_bytes is not None:
        return _from_bytes(size_bytes, kind, binary)
    if binary or "data" not in description:
        raise RequestError(400, f"`data` is missing, or the parameter `{_SIZE}` and as many bytes after the JSON.")
    return _from_data(description["data"], kind, str(description["datatype"]))


def _from_bytes(size_bytes: Any, kind: np.dtype[Any], binary: bytes) -> Array:
    if type(size_bytes) is not int or size_bytes != len(binary) or len(binary) % kind.itemsize:
        raise RequestError(400, f"`{_SIZE}` is {shown(size_bytes)}, but {len(binary)} bytes came after the JSON.")
    values = np.frombuffer(binary, kind)
    if kind.kind == "b" and (np.frombuffer(binary, np.uint8) > 1).any():
        raise RequestError(400, "A BOOL is one byte, 0 or 1.")
    return values


def _from_data(data: Any, kind: np.dtype[Any], datatype: str) -> Array:
    flat = _flat(data)
    for value_type in set(map(type, flat)) - ({bool, int} if kind.kind == "b" else {int, float}):
        value = next(value for value in flat if type(value) is value_type)
        raise RequestError(400, f"`data` must hold numbers only, not {shown(value)}, for {datatype}.")
    try:
        given = np.array(flat)  # (values)
    except OverflowError:
        given = np.array([None])
    if given.dtype.kind not in "biuf":
        raise RequestError(400, f"`data` has values that are too large for {datatype}.")
    with np.errstate(over="ignore", invalid="ignore"):
        values = given.astype(kind)
    if kind.kind in "iub" and not np.array_equal(values, given):
        raise RequestError(400, f"`data` has values that are not {datatype}.")
    return values


def _flat(data: Any) -> list[Any]:
    """Return the values of nested lists, row by row."""
    if not isinstance(data, list):
        raise RequestError(400, f"`data` must be a list, not {shown(data)}.")
    rows: list[Any] = data
    for _ in range(_MAX_AXES):
        types = set(map(type, rows))
        if list not in types:
            return rows
        if types != {list} or len(set(map(len, rows))) != 1:
            raise RequestError(400, "`data` is not an array: its rows differ in length or depth.")
        rows = list(itertools.chain.from_iterable(rows))
    raise RequestError(400, f"`data` is not an array: it is nested more than {_MAX_AXES} deep.")
