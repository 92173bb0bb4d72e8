"""Error responses with the server's reason, Retry-After in every format, and invalid bodies."""

from __future__ import annotations

import base64
import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.carbon.http import MAX_BACKOFF_S, SourceError, backoff_s, get_json

_TOKEN = "s3cret-token-that-must-not-leak"
_NOW = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)
_Answering = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[_Answering]:
    """Return a function that starts a server with one response and returns its URL."""
    servers: list[HTTPServer] = []

    def start(body: bytes, status: int = 200, **headers: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in {"Content_Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/x"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _asked(url: str, **more: Any) -> Any:
    return get_json(url, deadline_s=time.monotonic() + 2, **more)


def _refusal(url: str, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        _asked(url, **more)
    return caught.value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": "Zone \'US\' does not exist"}', "Zone 'US' does not exist"),
        (b'{"status": "error", "message": "No recent data for zone \\"US\\""}', 'No recent data for zone "US"'),
        (
            b'{"error": {"code": "400 Bad Request", "message": "Please enter a valid date"}}',
            "Please enter a valid date",
        ),
        (b'{"detail": [{"msg": 5, "message": "no such region"}]}', "no such region"),
        (b"Access denied\n", "Access denied"),
        (b"two\r\n lines\x00", "two lines"),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_refusal_contains_the_server_s_reason_and_the_zone(
    answering: _Answering, body: bytes, reason: str, status: int
) -> None:
    error = _refusal(answering(body, status), whose="maps US")
    assert (str(error), error.status) == (f"maps US: 127.0.0.1 returned HTTP {status}: {reason}", status)


@pytest.mark.parametrize("body", [b"", b"<html><body>Sign in</body></html>", b"{}", b"[]", b"null", b"[" * 50_000])
def test_a_refusal_without_a_reason(answering: _Answering, body: bytes) -> None:
    assert str(_refusal(answering(body, 403))) == "127.0.0.1 returned HTTP 403"


def test_a_long_reason_is_cut(answering: _Answering) -> None:
    assert len(str(_refusal(answering(b"no " * 5000, 403)))) < 250


@pytest.mark.parametrize("expected", [_TOKEN, "ada", base64.b64encode(b"ada:pass-word").decode(), "pass-word"])
def test_a_reason_never_contains_a_secret(answering: _Answering, expected: str) -> None:
    login = base64.b64encode(b"ada:pass-word").decode()
    headers = {"auth-token": _TOKEN, "Authorization": f"Basic {login}"}
    text = str(_refusal(answering(f"invalid token {expected}!".encode(), 401), headers=headers))
    assert expected not in text or len(expected) < 4
    assert "invalid token" in text


def test_a_redirect_is_reported_with_its_host_alone(answering: _Answering) -> None:
    url = answering(b"", 302, Location=f"https://login.example/?token={_TOKEN}")
    text = str(_refusal(url))
    assert text == "127.0.0.1 returned HTTP 302: it redirects to login.example, which is not followed"


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Fri, 06 Nov 2026 08:50:37 GMT", 60),
        ("Friday, 06-Nov-26 08:50:37 GMT", 60),
        ("Fri Nov  6 08:50:37 2026", 60),
        ("Fri, 06 Nov 2026 08:00:00 GMT", 0),  # past
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Fri, 06 Nov 2099 08:49:37 GMT", MAX_BACKOFF_S),
        ("9" * 400, MAX_BACKOFF_S),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("²", 0),
        ("Fri, 31 Nov 2026 08:50:37 GMT", 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(text: str, expected_s: float) -> None:
    assert backoff_s(text, _NOW) == expected_s


@given(st.text())
def test_retry_after_is_at_most_a_day(text: str) -> None:
    assert 0 <= backoff_s(text, _NOW) <= MAX_BACKOFF_S


def test_an_error_carries_retry_after(answering: _Answering) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    error = _refusal(answering(b"", 503, Retry_After=f"{until:%a, %d %b %Y %H:%M:%S GMT}"))
    assert 3590 < error.retry_after_s <= 3600


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_body_is_decompressed(answering: _Answering, encoding: str) -> None:
    packed = zlib.compress(b'{"a": 1}') if encoding == "deflate" else gzip.compress(b'{"a": 1}', mtime=0)
    assert _asked(answering(packed, Content_Encoding=encoding)) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "headers", "what"),
    [
        (gzip.compress(b" " * (1 << 24), mtime=0), {"Content_Encoding": "gzip"}, "more than 8 MiB"),
        (b" " * ((1 << 23) + 1), {}, "more than 8 MiB"),
        (gzip.compress(b'{"a": 1}', mtime=0)[:-9], {"Content_Encoding": "gzip"}, "the connection was cut"),
        (b"no gzip", {"Content_Encoding": "gzip"}, "invalid compression"),
        (b'{"a": 1', {"Content_Length": "4000"}, "the connection was cut"),
        (b"<html>Sign in", {"Content_Type": "text/html; charset=utf-8"}, "returned no JSON but text/html"),
        (b"[" * 100_000, {}, "returned no JSON"),
        (b"\xff\xfe{", {}, "returned no JSON"),
    ],
)
def test_an_invalid_body_is_an_error(answering: _Answering, body: bytes, headers: dict[str, str], what: str) -> None:
    assert what in str(_refusal(answering(body, **headers), whose="maps XX"))
