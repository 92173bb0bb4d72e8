"""One HTTP connection with h11 on asyncio's streams, and a time limit on every wait for the client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import h11

from overwinter.serving.heads import check_lines, head_end, path_so_far, read_head
from overwinter.serving.messages import Reply, Request, RequestError
from overwinter.serving.presence import until_refused

if TYPE_CHECKING:
    from overwinter.config.groups.serve import LimitsConfig

_CHUNK_BYTES = 1 << 16
_MIN_PROGRESS_BYTES = 1 << 14  # bytes that a client must read of a long reply within serve.limits.read_s
_LINGER_S = 2.0
_SHUTDOWN_S = 2.0
_UNFINISHED = (h11.IDLE, h11.SEND_BODY, h11.ERROR)


async def open_wire(client: socket.socket, tls: ssl.SSLContext | None, limits: LimitsConfig) -> Wire:
    """Return the connection of an accepted socket, after the TLS handshake if there is one.

    Raises:
        OSError: The client does not use TLS, or is too slow.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    limits_s = {} if tls is None else {"ssl_handshake_timeout": limits.head_s, "ssl_shutdown_timeout": _SHUTDOWN_S}
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=tls, **limits_s)
    transport.set_write_buffer_limits(high=1, low=0)  # `drain` returns when the system has all data
    return Wire(reader, asyncio.StreamWriter(transport, protocol, reader, loop), limits)


class Wire:
    """A connection; construct it with `open_wire`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: LimitsConfig) -> None:
        self._reader, self._writer, self._limits = reader, writer, limits
        self._unread = bytearray()  # bytes received after the last request
        self._http = self._next_cycle()
        self._head_only = self._sent_last = False

    @property
    def path_so_far(self) -> str:
        """The beginning of an incomplete head's path, which decides the format of errors."""
        return path_so_far(self._unread)

    async def next_head(self, idle_s: float) -> Request | None:
        """Return the next request without its body; None if the client has disconnected or was idle for too long.

        Raises:
            RequestError: The data is not a request, or was too slow.
        """
        try:
            async with asyncio.timeout(idle_s):
                if not self._unread and not await self._read():
                    return None
        except TimeoutError:
            return None
        head = self._whole_head() or await self._head_in_time()
        return None if head is None else self._parsed(head)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body.

        Raises:
            RequestError: 400, its framing is not valid.
        """
        if self._http.they_are_waiting_for_100_continue:
            self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        try:
            while not self.whole() and isinstance(event := await self._event(), h11.Data):
                yield bytes(event.data)
        except h11.RemoteProtocolError as error:
            raise RequestError(400, f"The framing of the body is not valid: {error}.") from None

    async def left(self) -> bool:
        """Return True when the client has disconnected; False if it sends so much more that this cannot be known.

        Data that it sends meanwhile is kept for the next request.
        """
        try:
            while len(self._unread) < self._limits.header_bytes:
                if not await self._read():
                    return await self._ended()
        except OSError:
            return True
        return False

    async def send(self, reply: Reply, *, last: bool) -> None:
        """Send a reply; the client may be slow as long as it keeps reading.

        Raises:
            TimeoutError: The client stopped reading.
        """
        self._sent_last = last
        start = self._http.send(h11.Response(status_code=reply.status, headers=_headers(reply, last=last))) or b""
        if isinstance(reply.body, bytes):
            content = b"" if self._head_only else self._http.send(h11.Data(data=reply.body)) or b""
            await self._write(b"".join([start, content, self._end()]))
            return
        try:
            await self._write(start)
            if not self._head_only:
                async for part in reply.body:
                    await self._write(self._http.send(h11.Data(data=part)) or b"")
            await self._write(self._end())
        finally:
            reply.body.abandon()

    def whole(self) -> bool:
        """Return whether the request was read to its end."""
        return self._http.their_state not in _UNFINISHED

    def reusable(self) -> bool:
        """Prepare for the next request, if both sides keep the connection."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._unread += self._http.trailing_data[0]
        self._http = self._next_cycle()
        return True

    async def close(self) -> None:
        """Close in order, so that the last reply arrives."""
        with contextlib.suppress(TimeoutError, OSError):
            if self._sent_last and not self.whole():
                await self._linger()
            self._writer.close()
            async with asyncio.timeout(_SHUTDOWN_S):
                await self._writer.wait_closed()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    def _next_cycle(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)

    async def _read(self) -> bool:
        content = await self._reader.read(_CHUNK_BYTES)
        self._unread += content
        return bool(content)

    async def _head_in_time(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._limits.head_s):
                return await self._head()
        except TimeoutError:
            limit = f"{self._limits.head_s:g} s (serve.limits.head_s)"
            raise RequestError(408, f"The head of the request took longer than {limit} to arrive.") from None

    async def _head(self) -> bytes | None:
        while await self._read():
            if (head := self._whole_head()) is not None:
                return head
        return None

    def _whole_head(self) -> bytes | None:
        """Return a head from the received bytes, if it is complete."""
        while self._unread.startswith(b"\r\n"):  # RFC 9112, section 2.2: some clients send an extra empty line
            del self._unread[:2]
        end = head_end(self._unread, self._limits.header_bytes)
        if end is None:
            return None
        head = bytes(self._unread[:end])
        check_lines(head)
        del self._unread[:end]
        return head

    def _parsed(self, head: bytes) -> Request:
        try:
            self._http.receive_data(head)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._unread[:0] = head
            raise RequestError(error.error_status_hint, f"This is not an HTTP request: {error}.") from None
        assert isinstance(event, h11.Request)  # noqa: S101 -- a complete head begins a request
        self._head_only = event.method == b"HEAD"
        try:
            request = read_head(event)
        except RequestError:
            self._unread[:0] = head
            raise
        if "transfer-encoding" not in request.headers and int(request.headers.get("content-length", "0")) == 0:
            self._http.next_event()  # the end: whatever becomes of it, the next request may follow
        return request

    async def _ended(self) -> bool:
        """Distinguish a client that has disconnected from one that still reads."""
        if self._writer.get_extra_info("ssl_object") is not None:
            return True
        if self._http.their_http_version == b"1.0":
            return False
        interim = h11.InformationalResponse(status_code=100, headers=[])
        await until_refused(self._writer, self._http.send(interim) or b"")
        return True

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if not self._unread:
                await self._read()
            self._http.receive_data(bytes(self._unread))
            self._unread.clear()
        return event

    def _end(self) -> bytes:
        return self._http.send(h11.EndOfMessage()) or b""

    async def _write(self, content: bytes) -> None:
        """Write, as long as the client keeps reading."""
        transport = self._writer.transport
        if transport.is_closing():
            raise ConnectionResetError
        transport.write(content)
        left_bytes = transport.get_write_buffer_size()
        while left_bytes and not await self._drained():
            before_bytes, left_bytes = left_bytes, transport.get_write_buffer_size()
            if left_bytes > before_bytes - _MIN_PROGRESS_BYTES:
                self.abort()
                raise TimeoutError

    async def _drained(self) -> bool:
        """Return whether the system has taken all data within the client's time limit."""
        try:
            async with asyncio.timeout(self._limits.read_s):
                await self._writer.drain()
        except TimeoutError:
            return False
        return True

    async def _linger(self) -> None:
        """Read for a moment: closing at once would reset a client that still sends, which would lose the response."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        left_bytes = self._limits.body_bytes
        async with asyncio.timeout(_LINGER_S):
            while left_bytes > 0 and (part := await self._reader.read(_CHUNK_BYTES)):
                left_bytes -= len(part)


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    """Return the Date header (RFC 9110, section 6.6.1), formatted once a second."""
    return formatdate(now_s, usegmt=True)


def _headers(reply: Reply, *, last: bool) -> list[tuple[str, str]]:
    headers = [("Date", _date(int(time.time()))), *reply.headers.items()]
    if isinstance(reply.body, bytes) and reply.status != 204:
        headers.append(("Content-Length", str(len(reply.body))))
    if last:
        headers.append(("Connection", "close"))
    return headers
