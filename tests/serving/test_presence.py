"""Clients that leave while they wait, and those that only have nothing more to say; through real sockets."""

import asyncio
import socket
import ssl
import struct

import pytest

from overwinter.serving.access import Access
from overwinter.serving.held import HeldBytes
from overwinter.serving.http import HttpServer
from overwinter.serving.messages import Reply, Route
from overwinter.serving.routing import Router

SLOW = b"POST /slow HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\n\r\nx"


class Site:
    """A door before a handler that takes its time, and notes whether it came to its end."""

    def __init__(self, limits, *, tls, takes_s=0.4):
        self.noted, self._takes_s = [], takes_s
        self.held = HeldBytes(limits.held_bytes)
        routes = [Route(method="POST", pattern="/slow", handler=self._slow)]
        self.http_server = HttpServer(
            Router(routes),
            limits,
            access=Access(),
            held=self.held,
            log=lambda *_, **__: self.noted.append("error"),
            tls=tls,
        )

    async def _slow(self, request):
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            self.noted.append("cancelled")
            raise
        self.noted.append("done")
        return Reply(body=b"said " + request.body)


@pytest.fixture
def meet(settings):
    """Run a conversation (a coroutine function of a client's reader and writer) with a door; return what was noted."""

    def meet(conversation, *, server_tls=None, client_tls=None, **changes):
        async def whole():
            site = Site(settings.limits, tls=server_tls, **changes)
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            site.http_server.listen([listener])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls)
            response = await conversation(reader, writer)
            async with asyncio.timeout(5):
                while not site.noted:
                    await asyncio.sleep(0.01)
            await site.http_server.close(within_s=1)
            writer.close()
            return response, site

        return asyncio.run(whole())

    return meet


async def leave(_reader, writer):
    writer.write(SLOW)
    await asyncio.sleep(0.02)
    writer.close()


async def reset(_reader, writer):
    writer.write(SLOW)
    await asyncio.sleep(0.1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("go", [leave, reset])
def test_nothing_is_computed_for_a_client_that_has_left(meet, go):
    _, site = meet(go, takes_s=5)
    assert site.noted == ["cancelled"]
    assert site.held.fits(site.held.max_bytes)  # what it sent is no longer counted


def test_a_client_with_nothing_more_to_say_gets_its_response(meet):
    async def half_close(reader, writer):
        writer.write(SLOW)
        writer.write_eof()
        return await reader.read()

    response, site = meet(half_close)
    interim, _, rest = response.partition(b"\r\n\r\n")
    assert interim.startswith(b"HTTP/1.1 100")
    assert rest.startswith(b"HTTP/1.1 200")
    assert rest.endswith(b"said x")
    assert site.noted == ["done"]


def test_a_client_of_http_1_0_is_not_sent_what_it_cannot_read(meet):
    async def half_close(reader, writer):
        writer.write(SLOW.replace(b"1.1", b"1.0"))
        writer.write_eof()
        return await reader.read()

    response, site = meet(half_close)
    assert response.startswith(b"HTTP/1.1 200")
    assert site.noted == ["done"]


def test_what_is_reported_ahead_is_the_next_request(meet):
    async def pipeline(reader, writer):
        writer.write(SLOW)
        await asyncio.sleep(0.1)
        writer.write(SLOW.replace(b"\r\n\r\nx", b"\r\nConnection: close\r\n\r\ny"))
        return await reader.read()

    response, site = meet(pipeline, takes_s=0.2)
    assert [part in response for part in (b"said x", b"said y")] == [True, True]
    assert site.noted == ["done", "done"]


def test_who_says_very_much_ahead_is_answered_first(meet, settings):
    settings.limits.header_bytes = 1024

    async def flood(reader, writer):
        writer.write(SLOW)
        await asyncio.sleep(0.1)
        writer.write(SLOW.replace(b"Host", b"X: " + b"y" * 900 + b"\r\nHost") * 3)
        return await reader.readuntil(b"said x")

    _, site = meet(flood, takes_s=0.2)
    assert site.noted[0] == "done"


def test_the_end_of_tls_is_the_end(meet, certificates):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificates / "ca.pem")
    server.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    _, site = meet(leave, server_tls=server, client_tls=client, takes_s=5)
    assert site.noted == ["cancelled"]
