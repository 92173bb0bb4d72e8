"""Answers on disk: equal questions only, within their room, and never a damaged one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.messages import Call, Reply
from overwinter.serving.response_cache import KEPT, ResponseCache
from overwinter.serving.streams import Stream


def call(body=b"q", **changes):
    plain = {"operation": "infer", "headers": {}, "body": body, "deadline_s": 1.0}
    return Call(**plain | changes)


REPLY = Reply(headers={"Content-Type": "text/plain"}, body=b"a response\nof two lines")


@pytest.fixture
def responses(tmp_path):
    return lambda max_bytes=100_000, bundle="a": ResponseCache(
        tmp_path / "responses", bundle=bundle, max_bytes=max_bytes
    )


def test_an_equal_question_has_an_equal_response_over_a_restart(responses):
    responses().add(call(), REPLY)
    found = responses().find(call(deadline_s=9.0))
    assert (found.body, found.headers) == (REPLY.body, {"Content-Type": "text/plain", **KEPT})


def test_another_question_or_bundle_has_none(responses):
    responses().add(call(), REPLY)
    for other in (call(b"r"), call(operation="chat"), call(model="m"), call(headers={"x": "y"})):
        assert responses().find(other) is None
    assert responses(bundle="b").find(call()) is None


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_response_is_none(tmp_path_factory, place, flip, cut):
    folder = tmp_path_factory.mktemp("responses")
    kept = ResponseCache(folder, bundle="a", max_bytes=10_000)
    kept.add(call(), REPLY)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= flip
    file.write_bytes(content[: place % len(content)] if cut else content)
    assert kept.find(call()) is None
    assert list(folder.iterdir()) == []


def test_the_least_recently_used_go_first(responses, tmp_path):
    kept = responses(max_bytes=450)
    for letter in b"abc":
        kept.add(call(bytes([letter])), Reply(body=b"x" * 50))
    assert kept.find(call(b"a")) is not None
    kept.add(call(b"d"), Reply(body=b"x" * 50))
    present = [letter for letter in "abcd" if kept.find(call(letter.encode())) is not None]
    assert "a" in present
    assert "d" in present
    assert "b" not in present
    assert sum(file.stat().st_size for file in (tmp_path / "responses").iterdir()) <= 450
    assert responses(max_bytes=1).find(call(b"a")) is None


def test_errors_streams_and_what_is_too_large_are_not_kept(responses):
    kept = responses(max_bytes=500)
    for reply in (Reply(status=400, body=b"no"), Reply(body=Stream()), Reply(body=b"x" * 500)):
        kept.add(call(), reply)
        assert kept.find(call()) is None


def test_a_disk_that_cannot_be_written_keeps_nothing_and_stops_nothing(responses, tmp_path):
    kept = responses()
    (tmp_path / "responses").rmdir()
    kept.add(call(), REPLY)
    assert kept.find(call()) is None


def test_what_was_half_written_goes_and_what_is_foreign_stays(responses, tmp_path):
    folder = tmp_path / "responses"
    responses().add(call(), REPLY)
    (folder / f".{'1' * 64}").write_bytes(b"half")
    for name in (f".{'2' * 64}", "3" * 64, "notes"):
        (folder / name).mkdir()
    (folder / ("4" * 64)).symlink_to("nowhere")
    kept = responses()
    assert kept.find(call()) is not None
    assert not (folder / f".{'1' * 64}").exists()
    assert (folder / "notes").is_dir()


def test_a_disk_that_has_become_read_only_still_gives_answers(responses, monkeypatch):
    kept = responses()
    kept.add(call(), REPLY)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    assert kept.find(call()) is not None
    kept._drop(next(iter(kept._sizes)))
    assert kept.find(call()) is None


def test_the_file_is_private_and_says_what_was_answered(responses, tmp_path):
    responses().add(call(), REPLY)
    (file,) = (tmp_path / "responses").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_bytes()[32:].partition(b"\n")[0])["status"] == 200
