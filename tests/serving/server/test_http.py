"""The door, spoken to through real sockets."""

import asyncio

import pytest

from overwinter.serving.server.access import Access
from overwinter.serving.server.held import HeldBytes
from overwinter.serving.server.http import Door
from overwinter.serving.server.messages import Reply, RequestError, Route
from overwinter.serving.server.routing import Router
from overwinter.serving.server.streams import Stream

TOKEN = b"0123456789abcdef"


async def _echo(request):
    if request.body == b"fail":
        raise ValueError("inside")
    if request.body == b"slow":
        await asyncio.sleep(0.2)
    if request.body == b"busy":
        raise RequestError(503, "Too many.", retry_after_s=2.4)
    return Reply(body=request.method.encode() + b" " + request.body)


STREAMS = []


async def _stream(request):
    stream = Stream()
    STREAMS.append(stream)
    for part in (b"one ", b"two"):
        stream.put(part)
    if request.method == "GET":
        stream.end()
    else:
        asyncio.get_running_loop().create_task(_keep_saying(stream))
    return Reply(body=stream)


async def _keep_saying(stream):
    while not stream.abandoned:
        stream.put(b"more")
        await asyncio.sleep(0.01)


ROUTES = [
    Route(method="POST", pattern="/echo", handler=_echo),
    Route(method="GET", pattern="/stream", handler=_stream),
    Route(method="POST", pattern="/stream", handler=_stream),
    Route(method="POST", pattern="/text", handler=_echo, limit="text_bytes"),
    Route(method="GET", pattern="/health", handler=_echo, open_to_all=True),
]


@pytest.fixture
def talk(settings):
    """Send bytes to a door; return what comes back until it closes, or nothing more comes."""

    def talk(*contents, token=None, log=lambda *_, **__: None):
        async def whole():
            held = HeldBytes(settings.limits.held_bytes)
            door = Door(Router(ROUTES), settings.limits, access=Access(token=token), held=held, log=log)
            listener = await asyncio.start_server(door.connection, "127.0.0.1", 0)
            answers = await asyncio.gather(
                *(_exchange(listener.sockets[0].getsockname()[1], text) for text in contents)
            )
            listener.close()
            await door.close(within_s=1)
            return answers

        return asyncio.run(whole())

    return talk


async def _exchange(port, content):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    parts = []
    try:
        async with asyncio.timeout(0.3):
            while part := await reader.read(1 << 16):
                parts.append(part)
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return b"".join(parts)


def post(body, *headers, path="/echo"):
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_connection_serves_request_after_request(talk):
    (answer,) = talk(post(b"one") + post(b"two", "Connection: close"))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.endswith(b"POST two")


def test_a_reply_can_come_in_parts(talk):
    (answer,) = talk(b"GET /stream HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert b"chunked" in answer.lower()
    assert b"one " in answer
    assert b"two" in answer


def test_who_asks_before_sending_is_told_to_send(talk):
    (answer,) = talk(
        post(b"", "Expect: 100-continue", "Connection: close").replace(b"Length: 0", b"Length: 3") + b"abc"
    )
    assert b"100 " in answer or b"POST abc" in answer
    assert answer.endswith(b"POST abc")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\x16\x03\x01 this is TLS\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: here\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n", 431),
        (post(b"x", path="/nowhere"), 404),
        (post(b"x", path="/health"), 405),
        (post(b"busy"), 503),
        (post(b"fail"), 500),
    ],
)
def test_bad_requests_get_a_clear_answer(talk, content, status):
    (answer,) = talk(content)
    assert answer.startswith(f"HTTP/1.1 {status}".encode()), answer


def test_a_failure_inside_is_logged_and_not_shown(talk):
    log = []
    (answer,) = talk(post(b"fail"), log=lambda event, **facts: log.append((event, facts)))
    assert b"inside" not in answer
    assert log == [("error", {"message": "ValueError: inside", "path": "/echo"})]


def test_retry_after_is_in_whole_seconds(talk):
    (answer,) = talk(post(b"busy"))
    assert b"retry-after: 2\r\n" in answer.lower()


def test_a_body_over_the_limit_is_refused_before_it_is_sent(talk, settings):
    settings.limits.body_bytes = 10
    announced, chunked = talk(
        post(b"").replace(b"Length: 0", b"Length: 11"),
        b"POST /echo HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n",
    )
    assert announced.startswith(b"HTTP/1.1 413")
    assert chunked.startswith(b"HTTP/1.1 413")


def test_a_route_can_have_a_smaller_limit(talk, settings):
    settings.limits.text_bytes = 10
    answers = talk(post(b"0123456789", path="/text"), post(b"01234567890", path="/text"), post(b"01234567890"))
    assert [answer[9:12] for answer in answers] == [b"200", b"413", b"200"]
    assert b"serve.limits.text_bytes" in answers[1]


def test_all_bodies_together_are_bounded(talk, settings):
    settings.limits.held_bytes = 10
    first, second = talk(post(b"slow", "Connection: close"), post(b"1234567", "Connection: close"))
    assert sorted([first[9:12], second[9:12]]) == [b"200", b"503"]


def test_who_sends_too_slowly_is_told_so(talk, settings):
    settings.limits.read_s = 0.05
    (answer,) = talk(post(b"").replace(b"Length: 0", b"Length: 3") + b"a")
    assert answer.startswith(b"HTTP/1.1 408")


def test_an_idle_connection_is_closed(talk, settings):
    settings.limits.keep_alive_s = 0.05
    assert talk(b"") == [b""]


def test_connections_are_bounded(talk, settings):
    settings.limits.connections = 1
    answers = talk(post(b"slow", "Connection: close"), post(b"slow", "Connection: close"))
    assert sorted(answer[9:12] for answer in answers) == [b"200", b"503"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("X: y", 401),
        ("Authorization: Bearer wrong", 401),
        (f"Authorization: Basic {TOKEN.decode()}", 401),
        (f"Authorization: Bearer {TOKEN.decode()}", 200),
        (f"authorization: bearer {TOKEN.decode()}", 200),
    ],
)
def test_a_token_is_asked_for(talk, header, status):
    (answer,) = talk(post(b"x", header, "Connection: close"), token=TOKEN)
    assert answer.startswith(f"HTTP/1.1 {status}".encode())


def test_health_checks_need_no_token(talk):
    (answer,) = talk(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", token=TOKEN)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_abandons_its_stream(talk):
    (answer,) = talk(post(b"", path="/stream"))
    assert b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n4\r\nmore\r\n" in answer
    assert STREAMS[-1].abandoned
