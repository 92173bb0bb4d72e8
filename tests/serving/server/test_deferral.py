"""Requests that wait: held or to be fetched, over restarts too; the grid is a stand-in, and so are the routes."""

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from overwinter.serving.server.deferral import Deferral, parse_deadline
from overwinter.serving.server.deferred import DeferredStore
from overwinter.serving.server.greenest import Point
from overwinter.serving.server.messages import Reply, Request, RequestError, Route, json_reply
from overwinter.serving.server.routing import Router
from overwinter.serving.server.streams import Stream

SOON = {"overwinter-deadline": "60"}
LATER = SOON | {"prefer": "respond-async"}


class Grid:
    """Green after a while: `green_s` from its making."""

    def __init__(self, green_s):
        begin_s = time.time()
        self.found = (Point(begin_s - 10, 500.0), Point(begin_s + green_s, 100.0), Point(begin_s + 30, 200.0))

    async def points(self):
        return self.found


class Site:
    """A deferral over one route that notes when it computes."""

    def __init__(self, store=None, *, green_s=0.2, answer=None, **settings):
        settings = SimpleNamespace(**{"requests": 8, "refresh_s": 900.0, "kept_s": 60.0} | settings)
        self.log, self.asked, self._answer = [], [], answer or (lambda body: json_reply({"said": body.decode()}))
        self.deferral = Deferral(
            Grid(green_s), settings, answer_s=1.0, store=store, log=lambda event, **facts: self.log.append(facts)
        )
        computing = Route(method="POST", pattern="/ask", handler=self._compute, computes=True)
        self._router = Router(self.deferral.over([computing]))
        self._begin_s = time.monotonic()

    async def _compute(self, request):
        self.asked.append(time.monotonic() - self._begin_s)
        return self._answer(request.body)

    async def send(self, method="POST", path="/ask", headers=None, body=b"x"):
        route, request = self._router.find(Request(method=method, path=path, headers=headers or {}, body=body))
        return await route.handler(request)

    async def fetched(self, reply):
        async with asyncio.timeout(10):
            while (found := await self.send("GET", reply.headers["Location"])).status == 202:
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
def store(tmp_path):
    return DeferredStore(tmp_path / "deferred")


def test_who_says_nothing_is_answered_at_once():
    site = Site(green_s=20)
    asyncio.run(site.send())
    assert site.asked[0] < 0.15


def test_a_request_is_held_until_the_grid_is_greenest():
    site = Site()
    reply = asyncio.run(site.send(headers=SOON))
    assert reply.body == b'{"said": "x"}'
    assert 0.15 < site.asked[0] < 5
    assert site.log == [{"g_per_kwh_at_arrival": 500.0, "g_per_kwh": 100.0}]


def test_the_deadline_is_kept_where_green_would_be_too_late():
    site = Site(green_s=20)
    asyncio.run(site.send(headers={"overwinter-deadline": "2"}))
    assert site.asked[0] < 1


def test_an_answer_can_be_fetched_later(store):
    async def scenario():
        site = Site(store)
        accepted = await site.send(headers=LATER)
        assert (accepted.status, accepted.headers["Retry-After"], site.deferral.waiting) == (202, "30", 1)
        done = await site.fetched(accepted)
        assert (done.status, done.body) == (200, b'{"said": "x"}')
        assert (await site.send("DELETE", accepted.headers["Location"])).status == 200
        with pytest.raises(RequestError, match="no such deferred"):
            await site.send("GET", accepted.headers["Location"])
        assert site.asked[0] > 0.15

    asyncio.run(scenario())


def test_a_restart_loses_nothing(store):
    async def first():
        site = Site(store, green_s=20)
        accepted = await site.send(headers=LATER | {"authorization": "Bearer secret"})
        await site.deferral.close()
        assert site.asked == []
        return accepted

    async def second(accepted):
        site = Site(store)
        site.deferral.start()
        return await site.fetched(accepted)

    accepted = asyncio.run(first())
    (file,) = store._folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "secret" not in file.read_text()
    assert json.loads(asyncio.run(second(accepted)).body) == {"said": "x"}


def test_a_busy_model_is_asked_again(store, monkeypatch):
    monkeypatch.setattr("overwinter.serving.server.deferral._AGAIN_S", 0.01)
    busy = [RequestError(503, "busy", retry_after_s=1).reply()]

    async def scenario():
        site = Site(store, green_s=0.01, answer=lambda _: busy.pop() if busy else json_reply({}))
        return await site.fetched(await site.send(headers=LATER)), len(site.asked)

    reply, count = asyncio.run(scenario())
    assert (reply.status, count) == (200, 2)


def test_an_error_is_an_answer_too(store):
    def refuse(_):
        raise RequestError(400, "no")

    async def scenario():
        site = Site(store, green_s=0.01, answer=refuse)
        return await site.fetched(await site.send(headers=LATER))

    assert asyncio.run(scenario()).status == 400


def test_a_stream_is_gathered(store):
    def streamed(_):
        stream = Stream()
        for part in (b"a", b"b"):
            stream.put(part)
        stream.end()
        return Reply(body=stream)

    async def scenario():
        site = Site(store, green_s=0.01, answer=streamed)
        return await site.fetched(await site.send(headers=LATER))

    assert asyncio.run(scenario()).body == b"ab"


def test_without_a_folder_nothing_is_accepted_to_be_fetched():
    with pytest.raises(RequestError, match=r"serve\.state"):
        asyncio.run(Site().send(headers=LATER))


def test_a_request_that_is_taken_back_is_never_asked(store):
    async def scenario():
        site = Site(store)
        accepted = await site.send(headers=LATER)
        await site.send("DELETE", accepted.headers["Location"])
        await asyncio.sleep(0.3)
        return site.asked, list(store.waiting())

    assert asyncio.run(scenario()) == ([], [])


def test_only_so_many_wait_and_leaving_sends_them_away():
    async def scenario():
        site = Site(green_s=20, requests=1)
        held = asyncio.create_task(site.send(headers=SOON))
        await asyncio.sleep(0.05)
        with pytest.raises(RequestError, match="Too many"):
            await site.send(headers=SOON)
        await site.deferral.close()
        with pytest.raises(RequestError, match="leaves"):
            await held
        assert site.deferral.waiting == 0

    asyncio.run(scenario())


def test_deadlines_are_seconds_or_times():
    assert parse_deadline("90.5", now_s=1000.0) == 1090.5
    assert parse_deadline("1970-01-01T01:00:00Z", now_s=0.0) == 3600.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1970-01-01T00:00:00", "1.2.3", "nan", "99999999-01-01"])
def test_other_deadlines_are_refused(text):
    with pytest.raises(RequestError, match="Overwinter-Deadline"):
        parse_deadline(text, now_s=0.0)


def test_names_lead_nowhere_else(store):
    store.answer("0" * 32, json_reply({}))
    assert store.fetch("0" * 32) is not None
    assert (store.fetch("../secret"), store.remove("../secret")) == (None, False)


def test_old_answers_and_damaged_requests_are_passed_over(store):
    store.answer("1" * 32, json_reply({}))
    (store._folder / f"{'2' * 32}.request.json").write_text("{")
    assert list(store.waiting()) == []
    store.drop_old(-1.0)
    assert store.fetch("1" * 32) is None
