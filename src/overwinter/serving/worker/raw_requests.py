"""Raw samples in requests: arrays, files in base64 or as they are, and texts, as the preprocessing takes them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from overwinter.data.preprocessing import Normalize, Preprocessing
from overwinter.inputs import Array
from overwinter.serving.bounded_json import shown
from overwinter.serving.messages import RequestError
from overwinter.serving.worker.tensors import BYTES, Tensor

IMAGE, TEXT = "image", "text"  # kinds of preprocessing that take no array of one shape


def raw_of_tensor(preprocessing: Preprocessing, tensor: Tensor) -> Array | Sequence[Any]:
    """Return the samples in a tensor called `raw`.

    Args:
        preprocessing: Of the woken model.
        tensor: Numbers (n, ...), or one sample without the batch; or BYTES: texts, or files, in JSON as base64.

    Raises:
        RequestError: 400, its datatype or shape is not that of raw samples.
    """
    datatype, values = tensor.description["datatype"], tensor.values
    if isinstance(preprocessing, Normalize):
        if datatype == BYTES:
            raise RequestError(400, f"`raw` must be numbers, not {BYTES} {list(values.shape)}.")
        return numbers_of("raw", values, preprocessing)
    if datatype != BYTES or values.ndim != 1:
        raise RequestError(400, f"`raw` must be {BYTES} [-1], not {datatype} {list(values.shape)}.")
    read = file_of if preprocessing.kind == IMAGE else text_of
    return [read(f"raw[{place}]", value) for place, value in enumerate(values)]


def file_of(field: str, value: Any) -> bytes:
    """Return a file given as bytes, or in JSON as base64: a text, or `{"b64": text}`.

    Raises:
        RequestError: 400, it is neither.
    """
    if isinstance(value, bytes):
        return value
    text = value.get("b64") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise RequestError(400, f"`{field}` must be a file in base64, not {shown(value)}.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(400, f"`{field}` is not valid base64: {shown(text)}.") from None


def text_of(field: str, value: Any) -> str:
    """Return a text given as text or UTF-8.

    Raises:
        RequestError: 400, it is no text.
    """
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeError:
        raise RequestError(400, f"`{field}` is not valid text: {shown(value)}.") from None
    raise RequestError(400, f"`{field}` must be a text, not {shown(value)}.")


def numbers_of(field: str, values: Array, preprocessing: Normalize) -> Array:
    """Return samples (n, ...); one sample without the batch gets it, so that it can be cut into batches.

    Raises:
        RequestError: 400, they have another shape than raw samples.
    """
    shapes = preprocessing.raw_shapes
    if values.shape in shapes:
        return values[np.newaxis]
    if values.ndim == 0 or (shapes and values.shape[1:] not in shapes):
        expected = " or ".join(str([-1, *shape]) for shape in shapes)
        raise RequestError(400, f"`{field}` must be {expected}, not {list(values.shape)}.")
    return values
