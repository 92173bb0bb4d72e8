"""What strangers send to the door: no bytes whatever are a 500, a line of the log, or a wait without end."""

import asyncio
import contextlib
import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GET = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"
SMUGGLED = b"GET /stream HTTP/1.1\r\nHost: here\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(*lines, body=b""):
    return b"\r\n".join([b"POST /echo HTTP/1.1", b"Host: here", *lines, b"", b""]) + body


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n"), 400),
        (post(b"X: y\r\n Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (post(b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (post(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (post(b"Content-Length: 4", b"Content-Length: 5", body=b"four"), 400),
        (post(b"Content-Length: 4, 5", body=b"four"), 400),
        (post(b"Content-Length: +4", body=b"four"), 400),
        (post(b"Content-Length: 0x4", body=b"four"), 400),
        (post(b"Content-Length: -1"), 400),
        (post(b"Content-Length: " + b"9" * 19), 413),
        (post(b"Content-Length: " + b"9" * 400), 400),
        (b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"x\r\n", 400),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"1\r\naXX", 400),
        (CHUNKED + b"1;a\nb\r\n", 400),
        (CHUNKED + b"f" * 21 + b"\r\n", 400),
        (CHUNKED + b"0\r\nnonsense\r\n\r\n", 400),
        (CHUNKED + b"1\r\na\r\n" * 5000, 400),
        (b"GET /nowhere HTTP/1.1\r\nHost: [\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: [\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET http://[/health HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        (b"GET  /health HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /health HTTP/3.0\r\nHost: here\r\n\r\n", 505),
        (b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        (post(b"Expect: a-miracle", b"Content-Length: 4"), 417),
        (b"GET /health HTTP/1.1\r\nHost: here\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_could_be_read_in_two_ways_ends_the_connection(talk, content, status):
    (response,) = talk(content + SMUGGLED)
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"one two" not in response
    assert b"Connection: close" in response
    assert len(re.findall(rb"HTTP/1.1 \d", response)) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\r\n\r\n" + GET, b"GET "),
        (b"GET http://here/health?x=1 HTTP/1.1\r\nHost: elsewhere\r\n\r\n", b"GET "),
        (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"), b"GET abc"),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), b"GET "),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"), b"GET "),
        (post(b"Content-Length: 4, 4", body=b"four"), b"POST four"),
        (CHUNKED + b"4;name=value\r\nfour\r\n0\r\nTrailer: x\r\n\r\n", b"POST four"),
    ],
)
def test_what_is_unusual_and_right_keeps_it(talk, content, says):
    first, both = talk(content, content + GET)
    assert first.startswith(b"HTTP/1.1 200 ")
    assert first.endswith(b"\r\n\r\n" + says)
    assert both.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize(
    "content",
    [
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /stream HTTP/1.0\r\n\r\n",
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        GET.replace(b"\r\n\r\n", b"\r\nConnection: x, Close\r\n\r\n"),
    ],
)
def test_who_wants_one_response_gets_one(talk, content):
    (response,) = talk(content + GET)
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"chunked" not in response


PIECES = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"OPTIONS ",
    b"/health",
    b"/echo",
    b"/stream",
    b"/v1/echo",
    b"*",
    b"http://[",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b" ",
    b"Host: here",
    b"Host: [",
    b"Origin: null",
    b"Origin: http://[",
    b"Content-Length: 4",
    b"Content-Length: \xb2",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Upgrade: websocket",
    b"Referer: x",
    b"X-Request-Id: \xe9",
    b"4\r\nfour\r\n",
    b"0\r\n\r\n",
    b"four",
    b"Authorization: Bearer \xff",
    b"Sec-Fetch-Site: \xff",
    b"Access-Control-Request-Method: ",
    b"%",
    b"%00",
    b"{}",
]
GOOD = [GET, SMUGGLED, post(b"Content-Length: 4", body=b"four"), CHUNKED + b"4\r\nfour\r\n0\r\n\r\n"]
MUTATED = st.tuples(st.sampled_from(GOOD), st.integers(0, 90), st.integers(0, 9), st.binary(max_size=6)).map(
    lambda parts: parts[0][: parts[1]] + parts[3] + parts[0][parts[1] + parts[2] :]
)
ANYTHING = st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join) | MUTATED


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANYTHING, min_size=1, max_size=8))
def test_no_bytes_are_a_fault_of_the_server(talk, settings, contents):
    settings.limits.head_s = settings.limits.read_s = settings.limits.keep_alive_s = 0.02
    log = []
    for response in talk(*contents, log=lambda *message, **_: log.append(message), patience_s=10):
        for status in re.findall(rb"HTTP/1\.1 (\d+) ", response):
            assert int(status) < 500 or int(status) in (501, 505)
    assert log == []


def test_a_slow_head_is_reported_so(at_server, settings):
    settings.limits.head_s = 0.2

    async def scenario(port, _http_server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begin_s = time.monotonic()
        for letter in GET[:20]:
            writer.write(bytes([letter]))
            await asyncio.sleep(0.03)
            if reader._buffer:
                break
        response = await reader.read()
        writer.close()
        return response, time.monotonic() - begin_s

    response, duration_s = at_server(scenario)
    assert response.startswith(b"HTTP/1.1 408 ")
    assert duration_s < 1


def test_a_body_that_is_too_large_is_reported_to_who_still_sends(at_server, settings):
    settings.limits.body_bytes = 1 << 22

    async def scenario(port, _http_server):
        return await asyncio.to_thread(send_all_then_read, port)

    def send_all_then_read(port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(post(b"Content-Length: 8000000") + bytes(4_000_000))
            return client.recv(1000)

    assert at_server(scenario).startswith(b"HTTP/1.1 413 ")


def test_who_does_not_read_is_left(at_server, settings):
    """Neither its slot nor its response is kept."""
    settings.limits.read_s = 0.2

    async def scenario(port, http_server):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(GET.replace(b"/health", b"/large"))
            async with asyncio.timeout(5):
                await asyncio.sleep(0.1)
                assert http_server.idle_s() == 0
                while http_server.idle_s() == 0 or http_server._slots.tasks():
                    await asyncio.sleep(0.02)

    at_server(scenario)


def test_who_reads_slowly_gets_all(at_server, settings):
    settings.limits.read_s = 0.3

    async def scenario(port, _http_server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.write(GET.replace(b"/health", b"/large").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        count = 0
        while part := await reader.read(1 << 22):
            count += len(part)
            if count < 1 << 20:
                await asyncio.sleep(0.05)
        writer.close()
        return count

    assert at_server(scenario) > 1 << 26


def test_handshakes_are_counted_and_end(at_server, certificates, settings):
    import ssl

    from overwinter.serving.connection_slots import ConnectionSlots

    settings.limits.head_s = 0.3
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    trust = ssl.create_default_context(cafile=str(certificates / "ca.pem"))

    async def scenario(port, http_server):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        writer.write(GET)
        response = await reader.readuntil(b"GET ")
        assert len(http_server._slots.tasks()) <= 5
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while http_server._slots.tasks():
                await asyncio.sleep(0.02)
        for _, each in silent:
            each.close()
        return response

    assert at_server(scenario, tls=tls, slots=ConnectionSlots(5, 5)).startswith(b"HTTP/1.1 200 ")
