"""The folder of deferred requests: what is whole is found again, what is damaged is quarantined and said."""

import os
import time

import pytest

from overwinter.serving.deferred import DeferredStore
from overwinter.serving.messages import Request, RequestError, json_reply

REQUEST = Request(
    method="POST", path="/ask", headers={"content-type": "a/b", "cookie": "secret"}, body=b"\x00body\n\xff"
)


@pytest.fixture
def open_store(tmp_path):
    def open_store(**changes):
        log = []
        settings = {"max_bytes": 1 << 20, "retention_s": 60.0} | changes
        store = DeferredStore(tmp_path, log=lambda event, **facts: log.append((event, facts)), **settings)
        return store, log

    return open_store


def test_a_request_is_found_again(open_store):
    waiting = open_store()[0].add(REQUEST, 7.5)
    store, log = open_store()
    assert (store.waiting(), log) == ([waiting], [])
    found = store.request(waiting.id)
    assert (found.method, found.path, found.body) == (REQUEST.method, REQUEST.path, REQUEST.body)
    assert found.headers == {"content-type": "a/b"}
    assert store.waits(waiting.id)


def test_a_response_takes_the_place_of_its_request(open_store, tmp_path):
    store, _ = open_store()
    waiting = store.add(REQUEST, 7.5)
    store.respond(waiting.id, json_reply({"a": 1}))
    (file,) = tmp_path.iterdir()
    assert (file.suffix, file.stat().st_mode & 0o777) == (".reply", 0o600)
    for found in (store, open_store()[0]):
        assert (found.waiting(), len(found), found.fetch(waiting.id).body) == ([], 1, b'{"a": 1}')


def test_a_crash_before_the_request_is_removed_changes_nothing(open_store, tmp_path):
    store, _ = open_store()
    waiting = store.add(REQUEST, 7.5)
    content = (tmp_path / f"{waiting.id}.request").read_bytes()
    store.respond(waiting.id, json_reply({}))
    (tmp_path / f"{waiting.id}.request").write_bytes(content)
    assert open_store()[0].waiting() == []
    assert not (tmp_path / f"{waiting.id}.request").exists()


def test_a_crash_while_it_writes_leaves_nothing_behind(open_store, tmp_path):
    (tmp_path / f".{'1' * 32}.request.abc.part").write_bytes(b"half")
    store, log = open_store()
    assert (len(store), log, list(tmp_path.iterdir())) == (0, [], [])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda _: b"",
        lambda _: b"\n",
        lambda _: b"[]\n",
        lambda _: b"{}\n",
        lambda _: b"[" * 9999 + b"\n",
        lambda content: content.replace(b'"POST"', b"7"),
        lambda content: content.replace(b'"deadline_s": 7.5', b'"deadline_s": "x"'),
        lambda _: b"\xff" * 99,
    ],
)
def test_a_damaged_request_is_quarantined_and_its_client_reported(open_store, tmp_path, damage):
    waiting = open_store()[0].add(REQUEST, 7.5)
    file = tmp_path / f"{waiting.id}.request"
    file.write_bytes(damage(file.read_bytes()))
    store, log = open_store()
    assert (store.waiting(), [event for event, _ in log]) == ([], ["quarantined"])
    assert (tmp_path / "damaged" / file.name).exists()
    assert (store.fetch(waiting.id).status, b"Send it again" in store.fetch(waiting.id).body) == (500, True)
    assert open_store()[1] == []


def test_bytes_that_were_altered_are_not_asked_or_given_out(open_store, tmp_path):
    store, _ = open_store()
    waiting, answered = store.add(REQUEST, 7.5), store.add(REQUEST, 7.5)
    store.respond(answered.id, json_reply({"a": 1}))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    store, _ = open_store()
    with pytest.raises(RequestError, match="damaged"):
        store.request(waiting.id)
    assert store.fetch(answered.id).status == 500


def test_foreign_files_are_left_alone(open_store, tmp_path):
    (tmp_path / "notes.request").write_text("mine")
    for name in ("damaged", f"{'1' * 32}.request", f".{'1' * 32}.request.x.part"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{'2' * 32}.reply").symlink_to("nowhere")
    assert (len(open_store()[0]), open_store()[1]) == (0, [])
    assert (tmp_path / "notes.request").read_text() == "mine"


def test_names_lead_nowhere_else(open_store):
    store, _ = open_store()
    store.respond("0" * 32, json_reply({}))
    assert store.fetch("0" * 32) is not None
    assert (store.fetch("../secret"), store.remove("../secret"), store.waits("../secret")) == (None, False, False)


def test_old_answers_go_after_a_restart_too(open_store, tmp_path):
    store, _ = open_store()
    for name in ("1" * 32, "2" * 32):
        store.respond(name, json_reply({}))
    os.utime(tmp_path / f"{'1' * 32}.reply", (0, time.time() - 100))
    store, _ = open_store()
    assert (store.fetch("1" * 32), store.fetch("2" * 32).status) == (None, 200)
    store, _ = open_store(retention_s=-1.0)
    assert (store.fetch("2" * 32), list(tmp_path.iterdir())) == (None, [])


def test_only_what_was_fetched_makes_room_the_oldest_first(open_store):
    store, _ = open_store()
    names = [str(place) * 32 for place in range(3)]
    for name in names:
        store.respond(name, json_reply({}))
    assert not store.make_room(1, most=3)
    store.fetch(names[2])
    store.fetch(names[1])
    assert store.make_room(1, most=3)
    assert [store.fetch(name) is None for name in names] == [False, True, False]


def test_room_is_counted_in_bytes_and_comes_back(open_store):
    for store in (open_store(max_bytes=200_000)[0], open_store(max_bytes=200_000)[0]):
        waiting = store.add(REQUEST, 7.5)
        assert store.make_room(60_000, most=9)
        assert not store.make_room(70_000, most=9)
        store.remove(waiting.id)
        assert store.make_room(70_000, most=9)
        assert (store.could_hold(130_000), store.could_hold(140_000)) == (True, False)


def test_a_response_that_finds_no_room_is_reported_to_have_found_none(open_store):
    store, _ = open_store(max_bytes=100_000)
    waiting = store.add(REQUEST, 7.5)
    store.respond(waiting.id, json_reply("x" * 120_000))
    assert (store.fetch(waiting.id).status, b"serve.deferral.bytes" in store.fetch(waiting.id).body) == (507, True)


def test_a_response_of_usual_size_always_finds_room(open_store):
    store, _ = open_store(max_bytes=70_000)
    waiting = store.add(Request(method="POST", path="/ask", headers={}, body=b"x" * 4000), 7.5)
    assert not store.make_room(1, most=9)
    store.respond(waiting.id, json_reply("y" * 60_000))
    assert store.fetch(waiting.id).status == 200


def test_the_folder_is_read_once(open_store, tmp_path, monkeypatch):
    store, _ = open_store()
    monkeypatch.setattr("pathlib.Path.glob", lambda *_: pytest.fail("the folder is read again"))
    waiting = store.add(REQUEST, 7.5)
    store.respond(waiting.id, json_reply({}))
    assert store.make_room(1, most=9)
    assert store.fetch(waiting.id).status == 200
