"""Frames, whole and damaged, for both readers."""

import asyncio
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.worker.frames import FrameError, pack_frame, read_frame, receive_frame

headers = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()))


def received(content):
    async def receive():
        reader = asyncio.StreamReader()
        reader.feed_data(content)
        reader.feed_eof()
        return await receive_frame(reader)

    return asyncio.run(receive())


@given(headers, st.binary())
def test_both_readers_return_what_was_packed(header, body):
    content = pack_frame(header, body)
    assert read_frame(io.BytesIO(content)) == (header, body) == received(content)


@given(headers, st.binary(), st.data())
def test_a_frame_that_was_cut_short_is_none(header, body, data):
    content = pack_frame(header, body)
    part = content[: data.draw(st.integers(1, len(content) - 1))]
    with pytest.raises(FrameError, match="truncated"):
        read_frame(io.BytesIO(part))
    with pytest.raises(asyncio.IncompleteReadError):
        received(part)


@pytest.mark.parametrize(
    "content",
    [
        b"Traceback (most recent call last)",
        struct.pack(">IQ", 1 << 30, 0),
        struct.pack(">IQ", 2, 1 << 60),
        struct.pack(">IQ", 2, 0) + b"[]",
        struct.pack(">IQ", 2, 0) + b"{]",
    ],
)
def test_anything_else_is_none(content):
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(content))
    with pytest.raises(FrameError):
        received(content)


def test_the_end_of_the_stream_is_no_frame():
    assert read_frame(io.BytesIO(b"")) is None
