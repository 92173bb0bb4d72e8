"""The door, spoken to through real sockets."""

import json
import re
import time
from email.utils import parsedate_to_datetime

import pytest

from overwinter.serving.access import Access

TOKEN = b"0123456789abcdef"


def post(body, *headers, path="/echo"):
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_connection_serves_request_after_request(talk):
    (response,) = talk(post(b"one") + post(b"two", "Connection: close"))
    assert response.count(b"HTTP/1.1 200") == 2
    assert response.endswith(b"POST two")


def test_a_reply_can_come_in_parts(talk):
    (response,) = talk(b"GET /stream HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert b"chunked" in response.lower()
    assert b"one " in response
    assert b"two" in response


def test_who_asks_before_sending_is_reported_to_send(talk):
    (response,) = talk(
        post(b"", "Expect: 100-continue", "Connection: close").replace(b"Length: 0", b"Length: 3") + b"abc"
    )
    assert b"100 " in response or b"POST abc" in response
    assert response.endswith(b"POST abc")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\x16\x03\x01 this is TLS\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: here\r\n" + b"X: " + b"y" * 33000 + b"\r\n\r\n", 431),
        (post(b"x", path="/nowhere"), 404),
        (post(b"x", path="/health"), 405),
        (post(b"busy"), 503),
        (post(b"fail"), 500),
    ],
)
def test_bad_requests_get_a_clear_response(talk, content, status):
    (response,) = talk(content)
    assert response.startswith(f"HTTP/1.1 {status}".encode()), response


def test_a_failure_inside_is_logged_and_not_shown(talk):
    log = []
    (response,) = talk(post(b"fail"), log=lambda event, **facts: log.append((event, facts)))
    assert b"inside" not in response
    ((event, facts),) = log
    assert (event, facts["message"], facts["path"]) == ("error", "ValueError: inside", "/echo")
    assert f"X-Request-Id: {facts['request']}\r\n".encode() in response


def test_retry_after_is_in_whole_seconds(talk):
    (response,) = talk(post(b"busy"))
    assert b"retry-after: 2\r\n" in response.lower()


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
    responses = talk(post(b"0123456789", path="/text"), post(b"01234567890", path="/text"), post(b"01234567890"))
    assert [response[9:12] for response in responses] == [b"200", b"413", b"200"]
    assert b"serve.limits.text_bytes" in responses[1]


def test_all_bodies_together_are_bounded(talk, settings):
    settings.limits.held_bytes = 10
    first, second = talk(post(b"slow", "Connection: close"), post(b"1234567", "Connection: close"))
    assert sorted([first[9:12], second[9:12]]) == [b"200", b"503"]


def test_who_sends_too_slowly_is_reported_so(talk, settings):
    settings.limits.read_s = 0.05
    (response,) = talk(post(b"").replace(b"Length: 0", b"Length: 3") + b"a")
    assert response.startswith(b"HTTP/1.1 408")


def test_a_connection_that_says_nothing_is_closed(talk, settings):
    settings.limits.head_s = 0.05
    assert talk(b"") == [b""]


def test_an_idle_connection_is_closed(talk, settings):
    settings.limits.keep_alive_s = 0.05
    (response,) = talk(post(b"one"))
    assert response.endswith(b"POST one")


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
    (response,) = talk(post(b"x", header, "Connection: close"), access=Access(token=TOKEN))
    assert response.startswith(f"HTTP/1.1 {status}".encode())


def test_health_checks_need_no_token(talk):
    (response,) = talk(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", access=Access(token=TOKEN))
    assert response.startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_abandons_its_stream(talk, rooms):
    (response,) = talk(post(b"", path="/stream"))
    assert b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n4\r\nmore\r\n" in response
    assert rooms.streams[-1].abandoned


def test_head_is_answered_as_get_without_the_body(talk):
    (response,) = talk(b"HEAD /health HTTP/1.1\r\nHost: here\r\n\r\nGET /health HTTP/1.1\r\nHost: here\r\n\r\n")
    head, _, rest = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"Content-Length: 5" in head
    assert rest.startswith(b"HTTP/1.1 200")
    assert rest.endswith(b"\r\n\r\nGET ")


def test_head_of_a_stream_reads_none_of_it(talk, rooms):
    (response,) = talk(b"HEAD /stream HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200")
    assert response.endswith(b"\r\n\r\n")
    assert rooms.streams[-1].abandoned


@pytest.mark.parametrize(
    ("content", "name", "value"),
    [
        (post(b"x", path="/health"), "Allow", "GET, HEAD, OPTIONS"),
        (b"HEAD /echo HTTP/1.1\r\nHost: here\r\n\r\n", "Allow", "POST, OPTIONS"),
        (b"OPTIONS /echo HTTP/1.1\r\nHost: here\r\n\r\n", "Allow", "POST, OPTIONS"),
        (b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n", "Allow", "POST, GET, HEAD, OPTIONS"),
        (post(b"x"), "WWW-Authenticate", 'Bearer realm="overwinter"'),
        (
            post(b"x", "Authorization: Bearer no"),
            "WWW-Authenticate",
            'Bearer realm="overwinter", error="invalid_token"',
        ),
        (post(b"x", "Content-Encoding: gzip"), "Accept-Encoding", "identity"),
    ],
)
def test_a_refusal_says_what_would_be_right(talk, content, name, value):
    (response,) = talk(content, access=Access(token=TOKEN))
    assert f"\r\n{name}: {value}\r\n".encode() in response


def test_a_refusal_without_a_body_keeps_the_connection(talk):
    question = b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n"
    (response,) = talk(question + question)
    assert response.count(b"HTTP/1.1 404") == 2


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (post(b"x", path="/v1/echo"), 401),
        (post(b"x", path="/v1/nowhere"), 404),
        (b"GET /v1/echo HTTP/1.1\r\nHost: here\r\n\r\n", 405),
        (post(b"x", "Origin: null", path="/v1/echo"), 403),
        (post(b"x", "Content-Encoding: br", path="/v1/echo"), 415),
        (post(b"busy", f"Authorization: Bearer {TOKEN.decode()}", path="/v1/echo"), 503),
        (post(b"fail", f"Authorization: Bearer {TOKEN.decode()}", path="/v1/echo"), 500),
        (post(b"", f"Authorization: Bearer {TOKEN.decode()}", path="/v1/echo").replace(b": 0", b": 99999999"), 413),
        (b"GET /v1/models HTTP/1.1\r\nHost: [\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\nHost: here\r\nX: " + b"y" * 40000 + b"\r\n\r\n", 431),
        (b"GET /v1/models HTTP/1.1\r\nHost: here\r\n", 408),
        (b"GET /v1 HTTP/1.1\r\nHost: here\r\n\r\n", 404),
        (b"GET /v1?a=b HTTP/1.1\r\nHost: here\r\n", 408),
        (b"POST http://host/v1/completions HTTP/1.1\r\nHost: [\r\nExpect: a-miracle\r\n\r\n", 417),
        (b"POST http://host/v1/completions HTTP/1.1\r\nHost: here\r\n", 408),
    ],
)
def test_openais_clients_can_read_every_refusal(talk, settings, content, status):
    settings.limits.head_s = 0.1
    (response,) = talk(content, access=Access(token=TOKEN))
    assert response.startswith(f"HTTP/1.1 {status}".encode())
    error = json.loads(response.partition(b"\r\n\r\n")[2])["error"]
    assert error.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("given", "kept"), [("a-Request.1", True), ("x" * 129, False), ("<script>", False), ("", False)]
)
def test_every_response_bears_an_id(talk, given, kept):
    (response,) = talk(post(b"x", f"X-Request-Id: {given}"))
    found = re.search(rb"\r\nX-Request-Id: ([^\r]+)", response)[1].decode()
    assert found == given if kept else re.fullmatch("[0-9a-f]{32}", found)


@pytest.mark.parametrize("content", [post(b"x"), post(b"x", path="/nowhere"), b"\x16", post(b"", path="/stream")])
def test_every_response_says_when(talk, content):
    (response,) = talk(content)
    (found,) = re.findall(rb"\r\nDate: ([^\r]+ GMT)\r\n", response)
    assert abs(parsedate_to_datetime(found.decode()).timestamp() - time.time()) < 5


def test_requests_are_logged_where_that_is_asked_for(talk):
    log = []
    question = post(b"x", "X-Request-Id: one", "Authorization: Bearer secret").replace(b"/echo", b"/echo?key=secret")
    talk(question, b"\x16", logs_requests=True, log=lambda event, **facts: log.append((event, facts)))
    good = next(facts for _, facts in log if facts["status"] == 200)
    assert (good["request"], good["method"], good["path"]) == ("one", "POST", "/echo")
    assert sorted(facts["status"] for _, facts in log) == [200, 400]
    assert "secret" not in str(log)


def test_a_page_that_may_call_can_read_every_response(talk):
    access = Access(names=frozenset({"page.example"}), any_name=False)
    page = ("Host: page.example", "Origin: http://page.example:3000")
    preflight, response, failure, stream = talk(
        ask("OPTIONS", "/echo", *page, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: X-A"),
        ask("POST", "/echo", *page, "Content-Length: 0"),
        ask("GET", "/echo", *page),
        ask("GET", "/stream", *page),
        access=access,
    )
    for each in (preflight, response, failure, stream):
        assert b"\r\nAccess-Control-Allow-Origin: http://page.example:3000\r\n" in each
        assert b"\r\nVary: Origin\r\n" in each
    assert preflight.startswith(b"HTTP/1.1 204")
    assert b"\r\nContent-Length:" not in preflight
    assert b"Access-Control-Allow-Methods: POST, OPTIONS" in preflight
    assert b"authorization" in preflight
    assert b"x-a" in preflight


def test_any_other_page_is_reported_nothing(talk):
    access = Access(names=frozenset({"page.example"}), any_name=False)
    (response,) = talk(
        ask("OPTIONS", "/echo", "Host: page.example", "Origin: http://evil", "Access-Control-Request-Method: POST"),
        access=access,
    )
    assert response.startswith(b"HTTP/1.1 403")
    assert b"access-control" not in response.lower()


def ask(method, path, *headers):
    return "\r\n".join([f"{method} {path} HTTP/1.1", *headers, "Connection: close", "", ""]).encode()
