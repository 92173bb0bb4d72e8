"""Requests that wait: held or to be fetched, over restarts too; the grid is a stand-in, and so are the routes."""

import asyncio
import contextlib
import json
import math
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.serving.deferral import Deferral, parse_deadline
from overwinter.serving.deferred import DeferredStore
from overwinter.serving.greenest import Point
from overwinter.serving.held import HeldBytes
from overwinter.serving.messages import Reply, Request, RequestError, Route, json_reply
from overwinter.serving.routing import Router
from overwinter.serving.streams import Stream

SOON = {"overwinter-deadline": "60"}
LATER = SOON | {"prefer": "respond-async"}


class CarbonForecast:
    """Green after a while: `green_s` from its making."""

    def __init__(self, green_s):
        begin_s = time.time()
        self.found = (Point(begin_s - 10, 500.0), Point(begin_s + green_s, 100.0), Point(begin_s + 30, 200.0))

    async def points(self):
        return self.found


class Site:
    """A deferral over one route that notes when it computes."""

    takes_s = 0.0

    def __init__(self, store=None, *, green_s=0.2, response=None, held_bytes=1000, connections=64, **settings):
        settings = SimpleNamespace(
            **{"requests": 8, "bytes": 1 << 20, "refresh_s": 900.0, "retention_s": 60.0} | settings
        )
        self.log, self.asked, self._respond = [], [], response or (lambda body: json_reply({"said": body.decode()}))
        self.held = HeldBytes(held_bytes)
        self.deferral = Deferral(
            CarbonForecast(green_s),
            settings,
            limits=SimpleNamespace(response_s=1.0, connections=connections),
            store=store,
            held=self.held,
            log=lambda event, **facts: self.log.append(facts),
        )
        computing = Route(method="POST", pattern="/ask", handler=self._compute, computes=True)
        self._router = Router(self.deferral.over([computing]))
        self._begin_s = time.monotonic()

    async def _compute(self, request):
        self.asked.append(time.monotonic() - self._begin_s)
        await asyncio.sleep(self.takes_s)
        return self._respond(request.body)

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
    return opened(tmp_path)


def opened(tmp_path, **changes):
    settings = {"max_bytes": 1 << 20, "retention_s": 60.0, "log": lambda *_, **__: None} | changes
    return DeferredStore(tmp_path / "deferred", **settings)


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


def test_a_response_can_be_fetched_later(store):
    async def scenario():
        site = Site(store)
        accepted = await site.send(headers=LATER)
        assert (accepted.status, accepted.headers["Retry-After"], site.deferral.waiting) == (202, "30", 1)
        done = await site.fetched(accepted)
        assert (done.status, done.body) == (200, b'{"said": "x"}')
        assert (await site.send("DELETE", accepted.headers["Location"])).status == 200
        with pytest.raises(RequestError, match="No such deferred"):
            await site.send("GET", accepted.headers["Location"])
        assert site.asked[0] > 0.15

    asyncio.run(scenario())


def test_a_restart_loses_nothing(store, tmp_path):
    async def first():
        site = Site(store, green_s=20)
        accepted = await site.send(headers=LATER | {"authorization": "Bearer secret"})
        await site.deferral.close()
        assert site.asked == []
        return accepted

    async def second(accepted):
        site = Site(opened(tmp_path))
        site.deferral.start()
        return await site.fetched(accepted)

    accepted = asyncio.run(first())
    (file,) = (tmp_path / "deferred").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "secret" not in file.read_text()
    assert json.loads(asyncio.run(second(accepted)).body) == {"said": "x"}


def test_a_busy_model_is_asked_again(store, monkeypatch):
    monkeypatch.setattr("overwinter.serving.deferral._AGAIN_S", 0.01)
    busy = [RequestError(503, "busy", retry_after_s=1).reply()]

    async def scenario():
        site = Site(store, green_s=0.01, response=lambda _: busy.pop() if busy else json_reply({}))
        return await site.fetched(await site.send(headers=LATER)), len(site.asked)

    reply, count = asyncio.run(scenario())
    assert (reply.status, count) == (200, 2)


def test_an_error_is_a_response_too(store):
    def refuse(_):
        raise RequestError(400, "no")

    async def scenario():
        site = Site(store, green_s=0.01, response=refuse)
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
        site = Site(store, green_s=0.01, response=streamed)
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
        return site.asked, store.waiting()

    assert asyncio.run(scenario()) == ([], [])


def test_only_so_many_wait_and_leaving_sends_them_away():
    async def scenario():
        site = Site(green_s=20, requests=1)
        held = asyncio.create_task(site.send(headers=SOON))
        await asyncio.sleep(0.05)
        with pytest.raises(RequestError, match="Too many"):
            await site.send(headers=SOON)
        await site.deferral.close()
        with pytest.raises(RequestError, match="shutting down"):
            await held
        assert site.deferral.waiting == 0

    asyncio.run(scenario())


def test_answers_that_no_one_fetches_fill_it_up_and_fetched_ones_make_room(store):
    async def scenario():
        site = Site(store, green_s=0.0, requests=2)
        first, second = [await site.send(headers=LATER) for _ in range(2)]
        with pytest.raises(RequestError, match="Too many") as refusal:
            await site.send(headers=LATER)
        assert (refusal.value.status, refusal.value.retry_after_s) == (503, 30.0)
        await site.fetched(first)
        third = await site.send(headers=LATER)
        assert (await site.fetched(third)).status == (await site.fetched(second)).status == 200
        with pytest.raises(RequestError, match="No such deferred"):
            await site.send("GET", first.headers["Location"])

    asyncio.run(scenario())


def test_bodies_are_bounded_by_their_bytes(tmp_path):
    async def scenario():
        site = Site(opened(tmp_path, max_bytes=150_000), green_s=20, bytes=150_000)
        await site.send(headers=LATER, body=b"x" * 50_000)
        with pytest.raises(RequestError, match="Too many"):
            await site.send(headers=LATER, body=b"x" * 50_000)
        with pytest.raises(RequestError, match=r"serve\.deferral\.bytes") as refusal:
            await site.send(headers=LATER, body=b"x" * 100_000)
        await site.deferral.close()
        return refusal.value.status

    assert asyncio.run(scenario()) == 413


def test_what_is_due_is_read_into_memory_only_as_far_as_there_is_room(store):
    async def scenario():
        site = Site(store, green_s=0.0, held_bytes=250, requests=6)
        site.takes_s, most = 0.02, []
        count, room = 0, site.held.room

        async def counted(size_bytes):
            await room(size_bytes)
            most.append(site.held._count)

        site.held.room = counted
        accepted = [await site.send(headers=LATER, body=b"y" * 100) for _ in range(6)]
        for each in accepted:
            count += (await site.fetched(each)).status == 200
        return count, max(most), site.held._count

    assert asyncio.run(scenario()) == (6, 100, 0)


@pytest.mark.parametrize("limit", [{"held_bytes": 100}, {"connections": 4}])
def test_those_who_are_held_leave_half_to_others(limit):
    async def scenario():
        site = Site(green_s=20, **limit)
        held = [asyncio.create_task(site.send(headers=SOON, body=b"y" * 25)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(RequestError, match="Too many"):
            await site.send(headers=SOON, body=b"y" * 25)
        await site.deferral.close()
        await asyncio.wait(held)
        return [type(task.exception()) for task in held]

    assert asyncio.run(scenario()) == [RequestError, RequestError]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes nothing while the flag is set."""
    full = SimpleNamespace(now=False)
    real = files.replacing

    def replacing(path, mode=0o644):
        if full.now:
            raise OverwinterError(f"No space left to write {path}.")
        return real(path, mode)

    monkeypatch.setattr("overwinter.files.replacing", replacing)
    monkeypatch.setattr("overwinter.serving.deferral._AGAIN_S", 0.02)
    return full


def test_a_full_disk_loses_no_response(store, full_disk, tmp_path):
    async def scenario():
        site = Site(store, green_s=0.1)
        accepted = await site.send(headers=LATER)
        other = await site.send(headers={"overwinter-deadline": "1.3", "prefer": "respond-async"})
        full_disk.now = True
        from_memory = await site.fetched(accepted)
        assert from_memory.body == b'{"said": "x"}'
        with pytest.raises(RequestError, match="disk is full") as refusal:
            await site.send(headers=LATER)
        assert (refusal.value.status, refusal.value.retry_after_s) == (507, 30.0)
        assert not list((tmp_path / "deferred").glob("*.reply"))
        full_disk.now = False
        await asyncio.sleep(0.1)
        assert (await site.fetched(accepted)).body == from_memory.body
        assert (await site.fetched(other)).status == 200
        assert len(list((tmp_path / "deferred").glob("*.reply"))) == 2
        return [facts["message"] for facts in site.log if "message" in facts]

    messages = asyncio.run(scenario())
    assert sum("stays in memory" in message for message in messages) == 1


def test_a_server_that_leaves_over_a_full_disk_asks_again_after_its_restart(store, full_disk, tmp_path):
    async def first():
        site = Site(store, green_s=0.01)
        full_disk.now = False
        accepted = await site.send(headers=LATER)
        full_disk.now = True
        await site.fetched(accepted)
        await site.deferral.close()
        return accepted

    async def second(accepted):
        full_disk.now = False
        site = Site(opened(tmp_path), green_s=0.01)
        site.deferral.start()
        return await site.fetched(accepted)

    assert asyncio.run(second(asyncio.run(first()))).status == 200


def test_a_failure_inside_is_a_response_too(store):
    def fail(_):
        raise ValueError("inside")

    async def scenario():
        site = Site(store, green_s=0.01, response=fail)
        reply = await site.fetched(await site.send(headers=LATER))
        return reply, site.log[-1]["message"]

    reply, logged = asyncio.run(scenario())
    assert (reply.status, b"inside" in reply.body, logged) == (500, False, "ValueError: inside")


def test_a_client_that_leaves_is_held_no_longer():
    async def scenario():
        site = Site(green_s=20)
        held = asyncio.create_task(site.send(headers=SOON))
        await asyncio.sleep(0.05)
        held.cancel()
        await asyncio.wait({held})
        return site.deferral.waiting, site.asked

    assert asyncio.run(scenario()) == (0, [])


def test_deadlines_are_seconds_or_times():
    assert parse_deadline("90.5", now_s=1000.0) == 1090.5
    assert parse_deadline("0", now_s=1000.0) == 1000.0
    assert parse_deadline("1970-01-01T01:00:00Z", now_s=0.0) == 3600.0
    assert parse_deadline("1970-01-01T01:00:00+01:00", now_s=7.0) == 0.0


def test_times_at_the_ends_of_the_calendar_are_times():
    assert parse_deadline("0001-01-01T00:00:00+23:59", now_s=0.0) < -6e10
    assert parse_deadline("9999-12-31T23:59:59-23:59", now_s=0.0) > 2e11


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "-5", "1970-01-01T00:00:00", "1.2.3", "nan", "inf", "-inf", "1e3", "0x10", "1_000", " 5", "5 "),
        *("1" * 400, "0." + "1" * 400, "\u0663", "\u00b2", "99999999-01-01", "99999999-01-01T00:00:00Z", "T" * 30000),
    ],
)
def test_other_deadlines_are_refused(text):
    with pytest.raises(RequestError, match="Overwinter-Deadline"):
        parse_deadline(text, now_s=0.0)


@given(st.text(st.characters(max_codepoint=255), max_size=40) | st.datetimes().map(str))
def test_any_deadline_is_a_time_or_refused(text):
    with contextlib.suppress(RequestError):
        assert math.isfinite(parse_deadline(text, now_s=0.0))


def test_a_deadline_in_the_past_is_answered_at_once():
    site = Site(green_s=20)
    asyncio.run(site.send(headers={"overwinter-deadline": "2001-01-01T00:00:00Z"}))
    assert site.asked[0] < 0.15
