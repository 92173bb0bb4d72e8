"""The door: HTTP/1.1 with h11 on asyncio, with limits on size, time and number.

h11 alone, since a server framework would take the memory that a sleeping server must not have: aiohttp brings
17 MB, h11 half of one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import h11

from overwinter.serving.server.access import Access
from overwinter.serving.server.held import HeldBytes
from overwinter.serving.server.messages import Reply, Request, RequestError
from overwinter.serving.server.presence import Watched, until_refused
from overwinter.serving.server.routing import Router

if TYPE_CHECKING:
    from overwinter.config.groups.serve import LimitsConfig

_CHUNK_BYTES = 1 << 16
_BUSY_RETRY_S = 1.0
Log = Callable[..., None]


class Door:
    """Serves routes on connections.

    Args:
        router: who answers what.
        limits: of each connection, and of all together.
        access: who may ask.
        held: counts the bytes of requests in memory.
        log: is told of what goes wrong inside.
    """

    def __init__(self, router: Router, limits: LimitsConfig, *, access: Access, held: HeldBytes, log: Log) -> None:
        self._router, self._limits, self._access, self._log, self._held = router, limits, access, log, held
        self._last_use_s = time.monotonic()
        self._open: set[asyncio.Task[Any]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs every callback in one
        self._open.add(task)
        try:
            await self._converse(_Wire(reader, writer, self._limits), task)
        except (ConnectionError, TimeoutError, h11.ProtocolError, asyncio.CancelledError, OSError):
            pass  # the client went away, was too slow or spoke no HTTP; or the server leaves
        finally:
            self._open.discard(task)
            writer.close()

    def idle_s(self) -> float:
        """Return for how long nothing was asked."""
        return 0.0 if self._busy else time.monotonic() - self._last_use_s

    async def close(self, *, within_s: float) -> None:
        """Let requests under way finish, and close every connection."""
        self._closing = True
        for task in self._open - self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=within_s)
        for task in list(self._open):
            task.cancel()

    async def _converse(self, wire: _Wire, task: asyncio.Task[Any]) -> None:
        if len(self._open) > self._limits.connections:
            refusal = RequestError(503, "Too many connections. Try again.", retry_after_s=_BUSY_RETRY_S)
            await wire.send(refusal.reply(), last=True)
            return
        while not self._closing and (head := await wire.next_head(self._limits.keep_alive_s)) is not None:
            self._busy.add(task)
            try:
                await self._answer(wire, head)
            finally:
                self._busy.discard(task)
                self._last_use_s = time.monotonic()
            if not wire.reusable():
                return

    async def _answer(self, wire: _Wire, head: Request) -> None:
        held = [0]
        try:
            route, request = self._router.find(head)
            self._access.check(head, open_to_all=route.open_to_all)
            body = await self._body(wire, request, route.limit, held)
            request = Request(
                method=head.method, path=head.path, headers=head.headers, body=body, matched=request.matched
            )
            del body
            async with Watched(wire.left):
                reply = await route.handler(request)
        except RequestError as error:
            reply = error.reply()
        except TimeoutError:
            reply = RequestError(408, f"The request took longer than {self._limits.read_s:g} s to arrive.").reply()
        except Exception as error:  # noqa: BLE001 -- one request must not end the server
            self._log("error", message=f"{type(error).__name__}: {error}", path=head.path)
            reply = RequestError(500, "The server failed on this request; its log says why.").reply()
        finally:
            self._held.remove(held[0])
        await wire.send(reply, last=self._closing or not wire.whole())

    async def _body(self, wire: _Wire, request: Request, limit: str, held: list[int]) -> bytes:
        """Read the body, counted among all that are held; refused before it is sent where that can be told."""
        announced = int(request.headers.get("content-length", "0"))  # h11 has checked that it is a number
        self._check_size(limit, announced, announced)
        parts: list[bytes] = []
        async with asyncio.timeout(self._limits.read_s):
            async for part in wire.body():
                held[0] += len(part)
                self._held.add(len(part))
                self._check_size(limit, held[0], 0)
                parts.append(part)
        return b"".join(parts)

    def _check_size(self, limit: str, size_bytes: int, coming_bytes: int) -> None:
        most_bytes = getattr(self._limits, limit)
        if size_bytes > most_bytes:
            raise RequestError(413, f"The body is larger than {most_bytes} bytes (serve.limits.{limit}).")
        if not self._held.fits(coming_bytes):
            raise RequestError(503, "Too many requests are in memory. Try again.", retry_after_s=_BUSY_RETRY_S)


class _Wire:
    """One connection: h11's events on a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: LimitsConfig) -> None:
        self._reader, self._writer, self._limits = reader, writer, limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)

    async def next_head(self, idle_s: float) -> Request | None:
        """Return the next request without its body; None when the client has left.

        A request that is no HTTP gets a 400, and the connection ends.
        """
        try:
            async with asyncio.timeout(idle_s):
                event = await self._event()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self.send(
                    RequestError(error.error_status_hint, f"This is no HTTP request: {error}.").reply(), last=True
                )
            return None
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        path = event.target.decode("latin-1").partition("?")[0]
        return Request(method=event.method.decode("latin-1"), path=path, headers=headers)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body."""
        if self._http.they_are_waiting_for_100_continue:
            self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)

    async def left(self) -> bool:
        """Return True once the client has left; False where it says so much more that this cannot be told.

        What it sends ahead meanwhile is kept for the next request.
        """
        try:
            while len(self._http.trailing_data[0]) < self._limits.header_bytes:
                if not (part := await self._reader.read(_CHUNK_BYTES)):
                    return await self._ended()
                self._http.receive_data(part)
        except OSError:
            return True
        return False

    async def _ended(self) -> bool:
        """Tell who has left from who has nothing more to say and still reads."""
        if self._writer.get_extra_info("ssl_object") is not None:
            return True
        if self._http.their_http_version == b"1.0":
            return False
        interim = h11.InformationalResponse(status_code=100, headers=[])
        await until_refused(self._writer, self._http.send(interim) or b"")
        return True

    async def send(self, reply: Reply, *, last: bool) -> None:
        """Send a reply; no time limit while the client keeps reading."""
        headers = [(name, value) for name, value in reply.headers.items()]
        if isinstance(reply.body, bytes):
            headers.append(("Content-Length", str(len(reply.body))))
        if last:
            headers.append(("Connection", "close"))
        parts = [self._http.send(h11.Response(status_code=reply.status, headers=headers)) or b""]
        if isinstance(reply.body, bytes):
            parts += [self._http.send(h11.Data(data=reply.body)) or b"", self._http.send(h11.EndOfMessage()) or b""]
            await self._write(b"".join(parts))
            return
        try:
            await self._write(parts[0])
            async for part in reply.body:
                await self._write(self._http.send(h11.Data(data=part)) or b"")
            await self._write(self._http.send(h11.EndOfMessage()) or b"")
        finally:
            reply.body.abandon()

    def whole(self) -> bool:
        """Whether the client's request was read to its end."""
        return self._http.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    def reusable(self) -> bool:
        """Go on to the next request, if both sides keep the connection."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _write(self, content: bytes) -> None:
        self._writer.write(content)
        async with asyncio.timeout(self._limits.read_s):
            await self._writer.drain()

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_CHUNK_BYTES))
        return event
