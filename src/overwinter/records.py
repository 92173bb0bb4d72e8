"""Records: JSON files and messages as frozen dataclasses.

An unknown key, which a newer version may have written, is ignored. A missing key or a wrong type raises an error that
names the key and the file. A field made by `inlined` or `named_by` has its value under other keys than its own name.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from overwinter.errors import IntegrityError
from overwinter.files import read_json, write_json

T = TypeVar("T")
_INLINED, _NAMED_BY = "inlined", "named_by"


def inlined() -> Any:
    """Return a field for a mapping of numbers by name, None by default, that are keys of the record's own JSON object.

    Every number in the object whose key is no field belongs to it. Its names must differ from the fields'.
    """
    return dataclasses.field(default=None, metadata={_INLINED: True})


def named_by(field: str) -> Any:
    """Return a field whose key in JSON is the value of another field, such as `{"headline": "r2", "r2": 0.9}`."""
    return dataclasses.field(metadata={_NAMED_BY: field})


def read_record(schema: type[T], path: Path, *, remedy: str) -> T:
    """Read a record from a file.

    Args:
        schema: a dataclass of numbers, strings, booleans, mappings, dataclasses and tuples of these.
        path: path of the file.
        remedy: next step for the error message, such as ``Run `dvc repro train`.``

    Raises:
        IntegrityError: the file is missing, is not JSON, or lacks a key, or a value has the wrong type.
    """
    return parse_record(schema, read_json(path, remedy=remedy), where=str(path), remedy=remedy)


def parse_record(schema: type[T], content: object, *, where: str, remedy: str) -> T:
    """Return the record in parsed JSON, checked as in `read_record`; ``where`` names the file in errors."""
    if not isinstance(content, Mapping):
        raise IntegrityError(f"{where} is not a JSON object. {remedy}")
    keys = {field: _key(field, content) for field in _fields(schema)}
    missing = [key for field, key in keys.items() if key not in content and not _is_optional(field)]
    if missing:
        raise IntegrityError(f"{where} lacks {', '.join(missing)}. {remedy}")
    kinds = _kinds(typing.cast(Any, schema))  # types are hashable; mypy disagrees for `type[T]`
    values = {
        field.name: _value(kinds[field.name], content[key], where=f"{where}: {key}", remedy=remedy)
        for field, key in keys.items()
        if key in content
    }
    others = {key: value for key, value in content.items() if key not in keys.values() and _fits(float, value)}
    return schema(**values, **{field.name: others for field in keys if _INLINED in field.metadata and others})


def write_record(path: Path, record: Any) -> None:
    """Write a record atomically."""
    write_json(path, to_json(record))


def to_json(record: Any) -> dict[str, Any]:
    """Return a record as JSON types; a field whose default is None is omitted while it is None."""
    values = vars(record)
    content: dict[str, Any] = {}
    for field in _fields(record):
        value = values[field.name]
        if _INLINED in field.metadata:
            content |= _plain(value or {})
        elif value is not None or field.default is not None:
            content[_key(field, values)] = _plain(value)
    return content


def _key(field: dataclasses.Field[Any], content: Mapping[str, Any]) -> str:
    """Return a field's key in JSON; an inlined one has none that JSON could have."""
    if _INLINED in field.metadata:
        return ""
    owner = field.metadata.get(_NAMED_BY)
    return field.name if owner is None else str(content.get(owner, field.name))


def _fields(schema: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(schema)


@lru_cache(maxsize=64)
def _kinds(schema: Any) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def _is_optional(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _value(kind: Any, value: Any, *, where: str, remedy: str) -> Any:
    if value is not None:
        kind = _record_of(kind)
    if dataclasses.is_dataclass(kind):
        return parse_record(typing.cast(type[Any], kind), value, where=where, remedy=remedy)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        item = typing.get_args(kind)[0]
        return tuple(_value(item, each, where=f"{where}[{place}]", remedy=remedy) for place, each in enumerate(value))
    if not _fits(kind, value):
        raise IntegrityError(f"{where}={value!r} is not valid. {remedy}")
    return value


def _record_of(kind: Any) -> Any:
    """Return the record of a kind such as ``Record | None``, and every other kind as it is."""
    records = [each for each in typing.get_args(kind) if dataclasses.is_dataclass(each)]
    return records[0] if typing.get_origin(kind) in (typing.Union, types.UnionType) and records else kind


def _fits(kind: Any, value: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(each, value) for each in typing.get_args(kind))
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
