"""Answers on disk: equal questions only, within their room, and never a damaged one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.messages import Call, Reply
from overwinter.serving.response_cache import KEPT, Answers
from overwinter.serving.streams import Stream


def call(body=b"q", **changes):
    plain = {"operation": "infer", "headers": {}, "body": body, "deadline_s": 1.0}
    return Call(**plain | changes)


REPLY = Reply(headers={"Content-Type": "text/plain"}, body=b"an answer\nof two lines")


@pytest.fixture
def answers(tmp_path):
    return lambda most_bytes=100_000, bundle="a": Answers(tmp_path / "answers", bundle=bundle, most_bytes=most_bytes)


def test_an_equal_question_has_an_equal_answer_over_a_restart(answers):
    answers().add(call(), REPLY)
    found = answers().find(call(deadline_s=9.0))
    assert (found.body, found.headers) == (REPLY.body, {"Content-Type": "text/plain", **KEPT})


def test_another_question_or_bundle_has_none(answers):
    answers().add(call(), REPLY)
    for other in (call(b"r"), call(operation="chat"), call(model="m"), call(headers={"x": "y"})):
        assert answers().find(other) is None
    assert answers(bundle="b").find(call()) is None


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_answer_is_none(tmp_path_factory, place, flip, cut):
    folder = tmp_path_factory.mktemp("answers")
    kept = Answers(folder, bundle="a", most_bytes=10_000)
    kept.add(call(), REPLY)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= flip
    file.write_bytes(content[: place % len(content)] if cut else content)
    assert kept.find(call()) is None
    assert list(folder.iterdir()) == []


def test_the_least_recently_used_go_first(answers, tmp_path):
    kept = answers(most_bytes=450)
    for letter in b"abc":
        kept.add(call(bytes([letter])), Reply(body=b"x" * 50))
    assert kept.find(call(b"a")) is not None
    kept.add(call(b"d"), Reply(body=b"x" * 50))
    present = [letter for letter in "abcd" if kept.find(call(letter.encode())) is not None]
    assert "a" in present
    assert "d" in present
    assert "b" not in present
    assert sum(file.stat().st_size for file in (tmp_path / "answers").iterdir()) <= 450
    assert answers(most_bytes=1).find(call(b"a")) is None


def test_errors_streams_and_what_is_too_large_are_not_kept(answers):
    kept = answers(most_bytes=500)
    for reply in (Reply(status=400, body=b"no"), Reply(body=Stream()), Reply(body=b"x" * 500)):
        kept.add(call(), reply)
        assert kept.find(call()) is None


def test_a_disk_that_cannot_be_written_keeps_nothing_and_stops_nothing(answers, tmp_path):
    kept = answers()
    (tmp_path / "answers").rmdir()
    kept.add(call(), REPLY)
    assert kept.find(call()) is None


def test_what_was_half_written_goes_and_what_is_foreign_stays(answers, tmp_path):
    folder = tmp_path / "answers"
    answers().add(call(), REPLY)
    (folder / f".{'1' * 64}").write_bytes(b"half")
    for name in (f".{'2' * 64}", "3" * 64, "notes"):
        (folder / name).mkdir()
    (folder / ("4" * 64)).symlink_to("nowhere")
    kept = answers()
    assert kept.find(call()) is not None
    assert not (folder / f".{'1' * 64}").exists()
    assert (folder / "notes").is_dir()


def test_a_disk_that_has_become_read_only_still_gives_answers(answers, monkeypatch):
    kept = answers()
    kept.add(call(), REPLY)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    assert kept.find(call()) is not None
    kept._drop(next(iter(kept._sizes)))
    assert kept.find(call()) is None


def test_the_file_is_private_and_says_what_was_answered(answers, tmp_path):
    answers().add(call(), REPLY)
    (file,) = (tmp_path / "answers").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_bytes()[32:].partition(b"\n")[0])["status"] == 200
