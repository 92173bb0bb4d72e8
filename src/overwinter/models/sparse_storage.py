"""Sparse tensors on disk: a bitmap of the elements that are not zero, then those elements, as one vector of bytes.

An element is zero if all of its bits are, so that -0.0 and every NaN come back bit for bit. Bits are counted from the
least significant. A bitmap with many empty bytes, as of channels that are gone, is packed in the same way (two levels).

What a vector has to hold follows from the tensor's shape and data type, and is checked before memory for the tensor is
allocated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.errors import IntegrityError

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
    )
}
_BITS: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_LEVELS = (1, 2)
_CHUNK = 1 << 16  # elements that are unpacked at once: they stay in the processor's cache

Elements = NDArray[np.unsignedinteger[Any]]
Bytes = NDArray[np.uint8]


def pack_sparse(tensor: torch.Tensor) -> tuple[torch.Tensor, int] | None:
    """Return a tensor as bitmap and values (bytes,), uint8, and the number of levels; None if that is not smaller.

    Args:
        tensor: on the CPU, of any shape; one whose data type is not packed gives None.
    """
    if tensor.dtype not in DTYPES.values():
        return None
    bitmap, values = _compressed(tensor.detach().reshape(-1).view(torch.uint8).numpy().view(_BITS[tensor.itemsize]))
    upper, lower = _compressed(bitmap)
    levels = 2 if len(upper) + len(lower) < len(bitmap) else 1
    parts = [bitmap] if levels == 1 else [upper, lower]
    stored = np.concatenate([*parts, values.view(np.uint8)])
    return (torch.from_numpy(stored), levels) if len(stored) < tensor.nbytes else None


def unpack_sparse(name: str, stored: torch.Tensor, entry: Mapping[str, Any], *, most_bytes: int) -> torch.Tensor:
    """Return the tensor that `pack_sparse` packed.

    Args:
        name: of the tensor, for the error.
        stored: bitmap and values (bytes,), uint8.
        entry: of the tensor in ``model.json``: ``shape``, ``dtype`` and ``packed`` with ``levels``.
        most_bytes: the most memory that it may take.

    Raises:
        IntegrityError: the bytes are not those of a tensor of this shape and data type, or it would take more memory.
    """
    count, dtype, levels = _declared(name, entry)
    if count * dtype.itemsize > most_bytes:
        raise _damaged(name, f"it would take {count * dtype.itemsize} bytes, and the file accounts for {most_bytes}")
    if stored.dtype != torch.uint8 or stored.dim() != 1:
        raise _damaged(name, f"it is stored as {stored.dtype} of the shape {list(stored.shape)}, not as bytes")
    content = stored.numpy()
    bitmap, rest = _split_bitmap(name, content, count, levels)
    values = _values(name, bitmap, rest, count, dtype.itemsize)
    return torch.from_numpy(_expanded(bitmap, values, count)).view(dtype).reshape(entry["shape"])


def _declared(name: str, entry: Mapping[str, Any]) -> tuple[int, torch.dtype, int]:
    """Return the number of elements, the data type and the levels that a tensor's entry names."""
    shape, dtype, packed = entry.get("shape"), DTYPES.get(str(entry.get("dtype"))), entry.get("packed")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise _damaged(name, f"its shape is {shape!r}")
    if dtype is None:
        raise _damaged(name, f"its data type {entry.get('dtype')!r} is never packed")
    levels = packed.get("levels") if isinstance(packed, dict) else None
    if type(levels) is not int or levels not in _LEVELS:
        raise _damaged(name, f"its bitmap has {levels!r} levels, not 1 or 2")
    return math.prod(shape), dtype, levels


def _split_bitmap(name: str, content: Bytes, count: int, levels: int) -> tuple[Bytes, Bytes]:
    """Return the bitmap of ``count`` elements and the bytes after it."""
    size = -(-count // 8)
    if levels == 1:
        return content[:size], content[size:]
    upper, rest = content[: -(-size // 8)], content[-(-size // 8) :]
    kept = _count_bits(name, upper, size)
    if kept > len(rest):
        raise _damaged(name, f"its bitmap should have {kept} bytes that are not zero, and {len(rest)} are left")
    return _expanded(upper, rest[:kept], size), rest[kept:]


def _values(name: str, bitmap: Bytes, rest: Bytes, count: int, itemsize: int) -> Elements:
    """Return the elements that are not zero, of the bytes after the bitmap."""
    kept = _count_bits(name, bitmap, count)
    if len(rest) != kept * itemsize:
        raise _damaged(name, f"its bitmap marks {kept} values of {itemsize} bytes, and {len(rest)} bytes follow")
    return rest.copy().view(_BITS[itemsize])  # copied: bytes of a file are not aligned


def _count_bits(name: str, bitmap: Bytes, count: int) -> int:
    """Return how many of ``count`` bits are set; there are no others."""
    if len(bitmap) != -(-count // 8):
        raise _damaged(name, f"a bitmap of {count} elements has {-(-count // 8)} bytes, and {len(bitmap)} are stored")
    if count % 8 and bitmap[-1] >> (count % 8):
        raise _damaged(name, f"its bitmap marks values beyond its {count} elements")
    return int(np.bitwise_count(bitmap).sum(dtype=np.int64))


def _compressed(elements: Elements) -> tuple[Bytes, Elements]:
    """Return the bitmap of the elements that are not zero, and those elements."""
    mask = elements != 0
    return np.packbits(mask, bitorder="little"), elements[mask]


def _expanded(bitmap: Bytes, values: Elements, count: int) -> Elements:
    """Return ``count`` elements: the values where a bit is set, zeros elsewhere."""
    elements = np.zeros(count, values.dtype)
    taken = 0
    for begin in range(0, count, _CHUNK):
        part = elements[begin : begin + _CHUNK]
        bits = np.unpackbits(bitmap[begin // 8 : begin // 8 + _CHUNK // 8], count=len(part), bitorder="little")
        places = np.flatnonzero(bits.view(np.bool_))  # numpy finds true ones several times faster than nonzero bytes
        part[places] = values[taken : taken + len(places)]
        taken += len(places)
    return elements


def _damaged(name: str, reason: str) -> IntegrityError:
    return IntegrityError(
        f"The packed tensor {name} cannot be unpacked: {reason}. Run the stage that makes this model again."
    )
