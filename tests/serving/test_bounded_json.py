"""JSON of strangers: what is read, what is refused before it grows, and how little is reported of it."""

import contextlib
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import RequestError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=3), st.booleans())
def test_what_json_says_is_read(content, ascii_only):
    text = json.dumps(content, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass" if ascii_only else "replace")
    assert parse_object(text, max_values=1 << 20) == json.loads(text)


@given(st.binary(max_size=60))
def test_anything_else_is_refused_in_order(content):
    with contextlib.suppress(RequestError):
        assert isinstance(parse_object(content, max_values=1000), dict)


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b'{"a": NaN}', 400, "NaN"),
        (b'{"a": -Infinity}', 400, "Infinity"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", 400, "digits"),
        (b'{"a":' * 5000 + b"0" + b"}" * 5000, 400, "too deep"),
        (b"[" * 9999, 400, "too deep"),
        (b'{"a": "\xff"}', 400, "utf-8"),
        ('{"a": 1}'.encode("utf-16"), 400, "not valid JSON"),
        (b'{"a": 1} x', 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b"[]", 400, "JSON object"),
        (b'{"a": [' + b"[]," * 10_000 + b"0]}", 413, "json_values"),
        (b'{"a": {' + b'"b": 0,' * 10_000 + b'"b": 0}}', 413, "json_values"),
    ],
)
def test_what_is_wrong_is_reported(content, status, expected):
    with pytest.raises(RequestError, match=expected) as refusal:
        parse_object(content, max_values=12_000)
    assert refusal.value.status == status
    assert len(str(refusal.value)) < 300


def test_a_byte_order_mark_and_large_numbers_do_no_harm():
    assert parse_object(b'\xef\xbb\xbf{"a": 1e999}', max_values=9) == {"a": float("inf")}


@pytest.mark.parametrize("part", [b"[],", b"{},", b'{"a":0},', b"1.5,", b'"ab",', b"[0],", b"[[[[]]]],"])
def test_memory_is_bounded_whatever_the_values_are(part):
    body = b'{"a": [' + part * (3_000_000 // len(part)) + b"0]}"
    max_values = 1 << 16
    tracemalloc.start()
    with pytest.raises(RequestError, match="json_values"):
        parse_object(body, max_values=max_values)
    refused_bytes = tracemalloc.get_traced_memory()[1]
    marks = sum(part.count(mark) for mark in (b",", b"[", b"{", b":"))
    kept = parse_object(b'{"a": [' + part * ((max_values - 4) // marks) + b"0]}", max_values=max_values)
    read_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept
    assert refused_bytes < 10_000
    assert read_bytes < 200 * max_values


@pytest.mark.parametrize("value", ["x" * 10**6, list(range(10**5)), int("9" * 4000), {"a": {"b": [[[[[[[[0]]]]]]]]}}])
def test_values_are_shown_in_few_words(value):
    assert len(shown(value)) < 200
