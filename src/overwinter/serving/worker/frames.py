"""The protocol between supervisor and worker: frames of a JSON header and a body of bytes, in both directions.

A frame is the header's length (4 bytes, big-endian), the body's length (8 bytes), the header and the body. The
worker reads with `read_frame` (blocking), the supervisor with `receive_frame` (asyncio).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from overwinter.errors import OverwinterError

if TYPE_CHECKING:
    import asyncio

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER = 1 << 20
MAX_BODY = 1 << 32


class Frame(NamedTuple):
    """A header and a body."""

    header: dict[str, Any]
    body: bytes


class FrameError(OverwinterError):
    """The data is not a frame: something else writes to the stream."""


def pack_frame(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read a frame; None at the end of the stream.

    Raises:
        FrameError: The data is not a frame, or is truncated.
    """
    lengths = stream.read(_LENGTHS.size)
    if not lengths:
        return None
    header_bytes, body_bytes = _lengths(lengths)
    return _frame(_exactly(stream, header_bytes), _exactly(stream, body_bytes))


async def receive_frame(stream: asyncio.StreamReader) -> Frame:
    """Read a frame.

    Raises:
        FrameError: The data is not a frame.
        asyncio.IncompleteReadError: The stream ended.
    """
    header_bytes, body_bytes = _lengths(await stream.readexactly(_LENGTHS.size))
    text = await stream.readexactly(header_bytes)
    return _frame(text, await stream.readexactly(body_bytes))


def _lengths(content: bytes) -> tuple[int, int]:
    if len(content) < _LENGTHS.size:
        raise FrameError("A frame is truncated.")
    header_bytes, body_bytes = _LENGTHS.unpack(content)
    if header_bytes > _MAX_HEADER or body_bytes > MAX_BODY:
        raise FrameError(f"A frame of {header_bytes} + {body_bytes} bytes: something else wrote to this stream.")
    return header_bytes, body_bytes


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise FrameError("A frame is truncated.")
    return content


def _frame(text: bytes, body: bytes) -> Frame:
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise FrameError(f"A frame's header is not a JSON object: {text[:80]!r}.")
    return Frame(header, body)
