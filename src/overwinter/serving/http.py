"""The HTTP/1.1 server: h11 on asyncio, with limits on size, time and number.

h11 alone, since a server framework takes too much memory for a sleeping server: aiohttp takes 17 MB, h11 half of one.
`connection_slots` limits connections, `wire` handles one, `heads` parses requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h11

from overwinter.serving.access import Access
from overwinter.serving.connection_slots import ConnectionSlot, ConnectionSlots, counted_address
from overwinter.serving.heads import new_request_id
from overwinter.serving.held import HeldBytes
from overwinter.serving.listening import accept_all, refuse
from overwinter.serving.messages import Reply, Request, RequestError
from overwinter.serving.model import CLIENT_LEFT
from overwinter.serving.openai_errors import is_openais, respelled
from overwinter.serving.origins import preflight
from overwinter.serving.presence import Watched
from overwinter.serving.routing import Router
from overwinter.serving.wire import Wire, open_wire

if TYPE_CHECKING:
    from overwinter.config.groups.serve import LimitsConfig

_BUSY_RETRY_S = 1.0
_PARTS_AT_ONCE = 256  # bytes of a body to read before other connections get a turn
_FREE_PARTS, _MIN_PART_BYTES = 1024, 32  # parts of any size, and the mean size that further ones need
_Log = Callable[..., None]


class HttpServer:
    """An HTTP server for routes.

    Args:
        router: Finds the handler of a request.
        limits: The limits of each connection and of all together.
        access: The access control.
        held: Counts the bytes of requests in memory.
        log: Receives internal errors.
        slots: The slots of connections; None: as many as `limits` allows.
        tls: The TLS context; None: plain HTTP.
        logs_requests: Whether to log each request, too.
    """

    def __init__(
        self,
        router: Router,
        limits: LimitsConfig,
        *,
        access: Access,
        held: HeldBytes,
        log: _Log,
        slots: ConnectionSlots | None = None,
        tls: ssl.SSLContext | None = None,
        logs_requests: bool = False,
    ) -> None:
        self._router, self._limits, self._access, self._held, self._log = router, limits, access, held, log
        self._slots = slots or ConnectionSlots(limits.connections, limits.connections_per_address)
        self._tls, self._logs_requests = tls, logs_requests
        self._last_use_s = time.monotonic()
        self._listening: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[Any]] = set()
        self._closing = False

    def listen(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on listening sockets, which are closed with the server."""
        for listener in listeners:
            work = accept_all(listener, self._take, free=self._slots.free, log=self._log)
            self._listening.append(asyncio.create_task(work))

    def idle_s(self) -> float:
        """Return the seconds since the last request."""
        return 0.0 if self._busy else time.monotonic() - self._last_use_s

    async def stop_listening(self) -> None:
        """Stop accepting connections."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    async def close(self, *, within_s: float) -> None:
        """Let running requests finish, and close every connection."""
        self._closing = True
        await self.stop_listening()
        _cancel(self._slots.idle())
        if self._busy:
            await asyncio.wait(self._busy, timeout=within_s)
        _cancel(left := self._slots.tasks())
        await asyncio.gather(*left, return_exceptions=True)

    def _take(self, client: socket.socket, peer: Any) -> None:
        slot = self._slots.take(client, counted_address(peer))
        if slot is None:
            refuse(client, plain=self._tls is None)
            return
        slot.task = asyncio.create_task(self._serve(client, slot))
        slot.task.add_done_callback(lambda _: self._dismiss(client, slot))

    def _dismiss(self, client: socket.socket, slot: ConnectionSlot) -> None:
        self._slots.leave(slot)
        client.close()

    async def _serve(self, client: socket.socket, slot: ConnectionSlot) -> None:
        """Serve one connection to its end."""
        # The client may disconnect, be too slow, or use neither HTTP nor TLS; or its connection is closed for another.
        with contextlib.suppress(OSError, TimeoutError, h11.ProtocolError, asyncio.CancelledError):
            wire = await open_wire(client, self._tls, self._limits)
            try:
                await self._converse(wire, slot)
                self._slots.receive(slot)
                await wire.close()
            finally:
                wire.abort()

    async def _converse(self, wire: Wire, slot: ConnectionSlot) -> None:
        idle_s = self._limits.head_s
        while not self._closing:
            try:
                head = await wire.next_head(idle_s)
            except RequestError as error:
                await self._send_away(wire, error)
                return
            if head is None:
                return
            await self._attend(wire, head, slot)
            if not wire.reusable():
                return
            self._slots.wait(slot)
            idle_s = self._limits.keep_alive_s

    async def _send_away(self, wire: Wire, error: RequestError) -> None:
        """Send the error of a request that could not be parsed."""
        reply, request_id = _spelt(error, wire.path_so_far), new_request_id()
        if self._logs_requests:
            self._log("request", request=request_id, status=reply.status, message=str(error))
        await wire.send(replace(reply, headers={**reply.headers, "X-Request-Id": request_id}), last=True)

    async def _attend(self, wire: Wire, head: Request, slot: ConnectionSlot) -> None:
        """Answer a request, and log it."""
        assert slot.task is not None  # noqa: S101 -- it runs this
        begin_s, status = time.monotonic(), CLIENT_LEFT
        self._busy.add(slot.task)
        try:
            reply = await self._reply(wire, head, slot)
            about = {**self._access.headers(head), "X-Request-Id": head.headers["x-request-id"]}
            reply = Reply(status=reply.status, headers={**reply.headers, **about}, body=reply.body)
            await wire.send(reply, last=self._closing or not wire.whole())
            status = reply.status
        finally:
            self._busy.discard(slot.task)
            self._last_use_s = time.monotonic()
            if self._logs_requests:
                self._log("request", **_facts(head), status=status, duration_s=round(self._last_use_s - begin_s, 6))

    async def _reply(self, wire: Wire, head: Request, slot: ConnectionSlot) -> Reply:
        held = [0]
        try:
            return await self._respond(wire, head, slot, held)
        except RequestError as error:
            return _spelt(error, head.path)
        except Exception as error:  # noqa: BLE001 -- one request must not end the server
            self._log("error", message=f"{type(error).__name__}: {error}", **_facts(head))
            refusal = RequestError(500, "The server failed on this request; its log says why.")
            return _spelt(refusal, head.path)
        finally:
            self._held.remove(held[0])

    async def _respond(self, wire: Wire, head: Request, slot: ConnectionSlot, held: list[int]) -> Reply:
        if head.method == "OPTIONS":
            self._access.check(head, open_to_all=True)
            return preflight(head, self._router.methods(head.path))
        route, found = self._router.find(head)
        self._access.check(head, open_to_all=route.open_to_all)
        self._slots.receive(slot)
        body = await self._body(wire, head, route.limit, held)
        request = Request(method=head.method, path=head.path, headers=head.headers, body=body, matched=found.matched)
        del body  # the handler can then release the body
        self._slots.work(slot)
        async with Watched(wire.left):
            return await route.handler(request)

    async def _body(self, wire: Wire, head: Request, limit: str, held: list[int]) -> bytes:
        """Read the body and count its bytes; refuse it before it is sent if its declared size is too large."""
        announced = int(head.headers.get("content-length", "0"))  # h11 has validated the number
        self._check_size(limit, announced, announced)
        content, parts = bytearray(), 0
        try:
            async with asyncio.timeout(self._limits.read_s):
                async for part in wire.body():
                    parts += 1
                    content += part
                    held[0] += len(part)
                    self._held.add(len(part))
                    self._check_size(limit, held[0], 0)
                    await _check_parts(parts, held[0])
        except TimeoutError:
            raise RequestError(408, f"The request took longer than {self._limits.read_s:g} s to arrive.") from None
        return bytes(content)

    def _check_size(self, limit: str, size_bytes: int, coming_bytes: int) -> None:
        max_bytes = getattr(self._limits, limit)
        if size_bytes > max_bytes:
            raise RequestError(413, f"The body is larger than {max_bytes} bytes (serve.limits.{limit}).")
        if not self._held.fits(coming_bytes):
            raise RequestError(503, "Too many requests are in memory. Try again.", retry_after_s=_BUSY_RETRY_S)


async def _check_parts(parts: int, size_bytes: int) -> None:
    """Refuse a body in tiny chunks, each of which costs as much as a large one; yield to other connections."""
    if parts > _FREE_PARTS and size_bytes < parts * _MIN_PART_BYTES:
        raise RequestError(
            400, f"The body has {parts} chunks of {size_bytes / parts:.1f} bytes on average: send larger ones."
        )
    if parts % _PARTS_AT_ONCE == 0:
        await asyncio.sleep(0)


def _spelt(error: RequestError, path: str) -> Reply:
    return respelled(error.reply()) if is_openais(path) else error.reply()


def _facts(head: Request) -> dict[str, str]:
    return {"request": head.headers["x-request-id"], "method": head.method[:40], "path": head.path[:200]}


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
