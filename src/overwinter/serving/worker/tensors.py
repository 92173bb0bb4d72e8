"""Conversion of untrusted tensors of the Open Inference Protocol v2, in JSON or binary, to numpy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from overwinter.inputs import Array
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
BYTES = "BYTES"
_MAX_AXES, _MAX_AXIS = 32, 1 << 31
_SIZE = "binary_data_size"


class Tensor(NamedTuple):
    """The description of a tensor, and its values."""

    description: Mapping[str, Any]
    values: Array


def read_tensors(descriptions: Sequence[Mapping[str, Any]], binary: bytes) -> list[Tensor]:
    """Return the tensors of a request; those of BYTES have texts or bytes as values.

    Args:
        descriptions: Of each, the `datatype`, `shape`, and `data` or the parameter `binary_data_size`.
        binary: The bytes after the JSON: those of each binary tensor, in this order.

    Raises:
        RequestError: 400, a field is wrong, or fields contradict each other.
    """
    parts, rest = [], memoryview(binary)
    for description in descriptions:
        size_bytes = parameters(description).get(_SIZE)
        if size_bytes is not None and (type(size_bytes) is not int or not 0 <= size_bytes <= len(rest)):
            raise RequestError(400, f"`{_SIZE}` is {shown(size_bytes)}, but {len(rest)} bytes came after the JSON.")
        parts.append(None if size_bytes is None else rest[:size_bytes])
        rest = rest[size_bytes or 0 :]
    if len(rest):
        raise RequestError(400, f"{len(rest)} bytes after the JSON belong to no tensor: give their `{_SIZE}`.")
    return [_tensor(description, part) for description, part in zip(descriptions, parts, strict=True)]


def _tensor(description: Mapping[str, Any], part: memoryview | None) -> Tensor:
    datatype, shape = description.get("datatype"), description.get("shape")
    if not isinstance(datatype, str) or datatype not in (*TYPES, BYTES):
        raise RequestError(400, f"`datatype` {shown(datatype)} is unknown. Known: {', '.join((*TYPES, BYTES))}.")
    if not isinstance(shape, list) or len(shape) > _MAX_AXES or not all(map(_is_size, shape)):
        raise RequestError(400, f"`shape` must be a list of whole numbers from 0, not {shown(shape)}.")
    values = _texts(description, part) if datatype == BYTES else _values(description, np.dtype(TYPES[datatype]), part)
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


def _values(description: Mapping[str, Any], kind: np.dtype[Any], part: memoryview | None) -> Array:
    if part is None:
        return _from_data(_data(description), kind, str(description["datatype"]))
    if len(part) % kind.itemsize:
        raise RequestError(400, f"`{_SIZE}` is {len(part)}, no multiple of the {kind.itemsize} bytes of a value.")
    if kind.kind == "b" and (np.frombuffer(part, np.uint8) > 1).any():
        raise RequestError(400, "A BOOL is one byte, 0 or 1.")
    return np.frombuffer(part, kind)


def _data(description: Mapping[str, Any]) -> Any:
    if "data" not in description:
        raise RequestError(400, f"`data` is missing, or the parameter `{_SIZE}` and as many bytes after the JSON.")
    return description["data"]


def _texts(description: Mapping[str, Any], part: memoryview | None) -> Array:
    """Return texts from JSON, or bytes from elements that each begin with their length in four bytes."""
    elements: list[Any] = _flat(_data(description)) if part is None else list(_elements(part))
    if part is None and (wrong := next((each for each in elements if not isinstance(each, str)), None)) is not None:
        raise RequestError(400, f"`data` must hold texts, not {shown(wrong)}, for {BYTES}.")
    values = np.empty(len(elements), dtype=object)
    values[:] = elements
    return values


def _elements(part: memoryview) -> Iterator[bytes]:
    while len(part):
        size_bytes = int.from_bytes(part[:4], "little")
        if len(part) < 4 + size_bytes:
            raise RequestError(400, f"An element of {BYTES} of {size_bytes} bytes has only {max(0, len(part) - 4)}.")
        yield bytes(part[4 : 4 + size_bytes])
        part = part[4 + size_bytes :]


def array_of(rows: Any, datatype: str, field: str = "`data`") -> Array:
    """Return nested lists of numbers as an array of their shape.

    Args:
        rows: From JSON.
        datatype: Of the protocol, such as FP32.
        field: The field, for messages.

    Raises:
        RequestError: 400, they are no such numbers, or no array.
    """
    shape: list[int] = []
    inner = rows
    while isinstance(inner, list) and len(shape) <= _MAX_AXES:
        shape.append(len(inner))
        inner = inner[0] if inner else None
    values = _from_data(rows, np.dtype(TYPES[datatype]), datatype, field)
    if not values.size:
        raise RequestError(400, f"{field} has no sample.")
    return values.reshape(shape)


def _from_data(data: Any, kind: np.dtype[Any], datatype: str, field: str = "`data`") -> Array:
    flat = _flat(data, field)
    for value_type in set(map(type, flat)) - ({bool, int} if kind.kind == "b" else {int, float}):
        value = next(value for value in flat if type(value) is value_type)
        raise RequestError(400, f"{field} must hold numbers only, not {shown(value)}, for {datatype}.")
    try:
        given = np.array(flat)  # (values)
    except OverflowError:
        given = np.array([None])
    if given.dtype.kind not in "biuf":
        raise RequestError(400, f"{field} has values that are too large for {datatype}.")
    with np.errstate(over="ignore", invalid="ignore"):
        values = given.astype(kind)
    if kind.kind in "iub" and not np.array_equal(values, given):
        raise RequestError(400, f"{field} has values that are not {datatype}.")
    return values


def _flat(data: Any, field: str = "`data`") -> list[Any]:
    """Return the values of nested lists, row by row."""
    if not isinstance(data, list):
        raise RequestError(400, f"{field} must be a list, not {shown(data)}.")
    rows: list[Any] = data
    for _ in range(_MAX_AXES):
        types = set(map(type, rows))
        if list not in types:
            return rows
        if types != {list} or len(set(map(len, rows))) != 1:
            raise RequestError(400, f"{field} is not an array: its rows differ in length or depth. Pad them.")
        rows = list(itertools.chain.from_iterable(rows))
    raise RequestError(400, f"{field} is not an array: it is nested more than {_MAX_AXES} deep.")
