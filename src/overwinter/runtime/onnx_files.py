"""External data of an ONNX model: the further files that hold its weights.

https://onnx.ai/onnx/repo-docs/ExternalData.html

A runtime would open any file that a model names, and a bundle verifies only its own files. So the names are found
first, by walking the protobuf (https://protobuf.dev/programming-guides/encoding) along the messages that can contain a
tensor; weights are skipped, so the size of a model hardly matters.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from overwinter.plain_files import is_inside, open_plain

# Message -> field -> message, from onnx.proto; a test compares it with the package onnx.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
_ENTRY = "StringStringEntryProto"
_KEY, _VALUE = 1, 2
_WORD = re.compile(b"location")
_MANY = ("FunctionProto", "NodeProto")  # many and small: searching for the word is faster than parsing
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MAX_VARINT = 10
Mapped = mmap.mmap | bytes


def external_files(model: Path) -> dict[str, Path]:
    """Return the files of external data, by their names in the model.

    Raises:
        ValueError: it is not an ONNX model, or names a file outside of its folder.
        OSError: it cannot be read.
    """
    found: dict[str, Path] = {}
    for name in _locations(model):
        path = model.parent / name
        if not is_inside(name.removeprefix("./")) or not path.is_file():
            raise ValueError(f"it takes weights from {name!r}, which is not a file in its folder")
        found[name] = path
    return found


@contextmanager
def mapped(files: Mapping[str, Path]) -> Iterator[dict[str, Mapped]]:
    """Yield the memory-mapped contents of files, by the same names.

    Raises:
        OSError: a file cannot be read.
    """
    with ExitStack() as stack:
        yield {name: _mapped(path, stack) for name, path in files.items()}


def _mapped(path: Path, stack: ExitStack) -> Mapped:
    with open_plain(path, follow=True) as stream:
        if stream.seek(0, 2) == 0:
            return b""  # which cannot be mapped
        return stack.enter_context(mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ))


def _locations(model: Path) -> set[str]:
    with mapped({"": model}) as contents:
        return {text.decode() for text in _walk(contents[""])}


def _walk(content: Mapped) -> Iterator[bytes]:
    waiting = [("ModelProto", 0, len(content))]
    while waiting:
        message, begin, end = waiting.pop()
        if message == _ENTRY:
            yield from _location(content, begin, end)
            continue
        if message in _MANY and not _WORD.search(content, begin, end):
            continue
        inner = FIELDS[message]
        waiting += [(inner[field], start, stop) for field, start, stop in _parts(content, begin, end) if field in inner]


def _location(content: Mapped, begin: int, end: int) -> Iterator[bytes]:
    parts = [(field, content[start:stop]) for field, start, stop in _parts(content, begin, end)]
    if (_KEY, _WORD.pattern) in parts:
        yield from (value for field, value in parts if field == _VALUE)


def _parts(content: Mapped, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield field, begin and end of the length-delimited values in a message; skip numbers."""
    while place < end:
        tag, place = _varint(content, place, end)
        kind = tag & 7
        if kind == _BYTES:
            size_bytes, place = _varint(content, place, end)
            yield tag >> 3, place, place + size_bytes
            place += size_bytes
        elif kind == _VARINT:
            _, place = _varint(content, place, end)
        elif kind in (_FIXED_64, _FIXED_32):
            place += 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError("it is not an ONNX model")
        if place > end:
            raise ValueError("it is truncated")


def _varint(content: Mapped, place: int, end: int) -> tuple[int, int]:
    value = 0
    for count in range(_MAX_VARINT):
        if place + count >= end:
            raise ValueError("it is truncated")
        byte = content[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("it is not an ONNX model")
