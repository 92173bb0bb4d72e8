"""Heads that two programs could read in two ways, and those that cannot be answered."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.heads import check_lines, head_end, path_so_far, read_head
from overwinter.serving.messages import RequestError


def read(method="GET", target="/", version="1.1", **headers):
    pairs = [("Host", "here"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return read_head(h11.Request(method=method, target=target, headers=pairs, http_version=version))


def refused(function, *arguments, **named):
    with pytest.raises(RequestError) as refusal:
        function(*arguments, **named)
    return refusal.value.status


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a" * 30])).map(b"".join))
def test_what_is_not_whole_waits_or_is_refused(content):
    place = content.find(b"\r\n\r\n")
    try:
        end = head_end(content, 100)
    except RequestError as error:
        end = -error.status
    assert end in ((None if place < 0 else place + 4), -400, -431)
    assert (end == -431) <= (len(content) > 100)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"GET / HTTP/1.1\nHost: here\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: here\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: here\r\nX: a\rY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: he", None),
        (b"\x16\x03\x01", 400),
        (b"\x00", 400),
        (b"G" * 101, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 100 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r", None),
    ],
)
def test_lines_end_as_they_must_and_are_not_too_long(content, status):
    assert (head_end(content, 100) is None) if status is None else refused(head_end, content, 100) == status


def test_what_follows_a_head_is_not_looked_at():
    head = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    assert head_end(head + b"\n\r\x00" * 999, 100) == len(head)


def test_fields_are_counted_and_not_folded():
    check_lines(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n")
    assert refused(check_lines, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n") == 431
    assert refused(check_lines, b"GET / HTTP/1.1\r\nX: y\r\n z\r\n\r\n") == 400


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost", "/v1/models"),
        (b"POST /v1/comp", "/v1/comp"),
        (b"GET http://here/v1/", "/v1/"),
        (b"POST HTTPS://here:80/v1/completions?a=b HTTP/1.1\r\n", "/v1/completions"),
        (b"GET /v1?a=/b HTTP/1.1\r\n", "/v1"),
        (b"GET http://here", ""),
        (b"GET ftp://here/v1/", ""),
        (b"", ""),
        (b"\xff\x00", ""),
    ],
)
def test_the_path_is_known_as_far_as_it_came(content, path):
    assert path_so_far(content) == path


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/v2?a=/b", "/v2", "here"),
        ("http://There:80/v2?x", "/v2", "There:80"),
        ("HTTPS://there", "/", "there"),
        ("//there/v2", "//there/v2", "here"),
        ("/v2/%zz%00", "/v2/%zz%00", "here"),
    ],
)
def test_targets(target, path, host):
    request = read(target=target)
    assert (request.path, request.headers["host"]) == (path, host)


def test_the_target_of_a_question_about_everything():
    assert read("OPTIONS", "*").path == "*"
    assert refused(read, "GET", "*") == 400


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"method": "CONNECT", "target": "here:80"}, 400),
        ({"target": "ftp://here/"}, 400),
        ({"target": "http:///v2"}, 400),
        *[({"target": f"http://{host}/"}, 400) for host in ("[", "user@here", "here:99999", "here:80:80")],
        ({"version": "2.0"}, 505),
        ({"version": "0.9"}, 505),
        ({"Content_Length": "4", "Transfer_Encoding": "chunked"}, 400),
        ({"Transfer_Encoding": "chunked", "version": "1.0"}, 400),
        ({"Expect": "a-miracle"}, 417),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Encoding": "identity, gzip"}, 415),
    ],
)
def test_what_cannot_be_answered(wrong, status):
    assert refused(read, **wrong) == status


@pytest.mark.parametrize(
    "good",
    [
        {"Expect": "100-Continue"},
        {"Expect": "a-miracle", "version": "1.0"},
        {"Content_Encoding": "Identity"},
        {"Transfer_Encoding": "chunked"},
    ],
)
def test_what_can(good):
    assert read(**good).path == "/"


def test_fields_that_come_twice_are_joined():
    pairs = [("Host", "here"), ("Origin", "http://a"), ("Origin", "http://b")]
    headers = read_head(h11.Request(method="GET", target="/", headers=pairs)).headers
    assert headers["origin"] == "http://a, http://b"
