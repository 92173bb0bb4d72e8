"""Requests that can wait: until the grid is at its greenest before their deadline.

A client says `Overwinter-Deadline: 3600` (seconds from now, or a time such as 2026-11-21T18:00:00Z). Its request is
held until then; with `Prefer: respond-async` (RFC 7240) it gets 202 and a `Location` instead, where the answer can be
fetched for a while. What is to be fetched is on disk before the 202 goes out, and is asked after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from overwinter.serving.server.accounts import Log
from overwinter.serving.server.deferred import DeferredStore, Waiting
from overwinter.serving.server.greenest import greenest_time_s, present_g_per_kwh
from overwinter.serving.server.grid import Grid
from overwinter.serving.server.messages import Handler, Reply, Request, RequestError, Route, json_reply
from overwinter.serving.server.routing import Router
from overwinter.serving.server.streams import Stream

if TYPE_CHECKING:
    from overwinter.config.groups.serve import DeferralConfig

DEADLINE = "overwinter-deadline"
_POLL_S = 30.0
_AGAIN_S = 5.0  # after an answer that says to come again


class Deferral:
    """Holds requests back, and answers them in time.

    Args:
        grid: tells what is expected.
        settings: the group `serve.deferral`.
        answer_s: what an answer may take, which is left until the deadline.
        store: of what is to be fetched; None: only held requests can wait.
        log: of the server.
    """

    def __init__(
        self, grid: Grid, settings: DeferralConfig, *, answer_s: float, store: DeferredStore | None, log: Log
    ) -> None:
        self._grid, self._settings, self._answer_s, self._store, self._log = grid, settings, answer_s, store, log
        self._leaving = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._router = Router(())
        self._held = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a greener hour."""
        return self._held + len(self._tasks)

    def over(self, routes: Iterable[Route]) -> list[Route]:
        """Return the routes with waiting in front of what computes, and those to fetch answers at."""
        given = list(routes)
        self._router = Router(given)
        fetching = [
            Route(method="GET", pattern="/overwinter/deferred/{id}", handler=self._fetch),
            Route(method="DELETE", pattern="/overwinter/deferred/{id}", handler=self._forget),
        ]
        return [replace(each, handler=self._deferring(each.handler)) if each.computes else each for each in given] + (
            fetching
        )

    def start(self) -> None:
        """Go on with what was waiting before a restart."""
        if self._store is not None:
            self._store.drop_old(self._settings.kept_s)
            for waiting in self._store.waiting():
                self._begin(waiting)

    async def close(self) -> None:
        """Send held requests away; the others are on disk."""
        self._leaving.set()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _deferring(self, handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def deferring(request: Request) -> Reply:
            if DEADLINE not in request.headers:
                return await handler(request)
            deadline_s = parse_deadline(request.headers[DEADLINE], now_s=time.time())
            if self.waiting >= self._settings.requests:
                raise RequestError(503, "Too many requests wait for a greener hour. Try again.", retry_after_s=_POLL_S)
            if "respond-async" in request.headers.get("prefer", "").lower():
                return self._accept(request, deadline_s)
            await self._hold(deadline_s)
            return await handler(request)

        return deferring

    async def _hold(self, deadline_s: float) -> None:
        self._held += 1
        try:
            await self._wait(deadline_s)
        finally:
            self._held -= 1

    async def _wait(self, deadline_s: float) -> None:
        """Wait for the greenest moment that leaves time for an answer."""
        first_g: float | None = None
        while not self._leaving.is_set():
            points, now_s = await self._grid.points(), time.time()
            here_g = present_g_per_kwh(points, now_s=now_s)
            first_g = here_g if first_g is None else first_g
            begin_s = greenest_time_s(points, now_s=now_s, latest_s=deadline_s - self._answer_s)
            if begin_s <= now_s:
                self._log("deferred", g_per_kwh_at_arrival=first_g, g_per_kwh=here_g)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), min(begin_s - now_s, self._settings.refresh_s))
        raise RequestError(503, "The server leaves. Try again.", retry_after_s=_AGAIN_S)

    # What is to be fetched.

    def _accept(self, request: Request, deadline_s: float) -> Reply:
        if self._store is None:
            raise RequestError(400, "Prefer: respond-async needs serve.state, a folder, so that nothing gets lost.")
        self._store.drop_old(self._settings.kept_s)
        waiting = self._store.add(request, deadline_s)
        self._begin(waiting)
        return _not_yet(waiting.id)

    def _begin(self, waiting: Waiting) -> None:
        task = asyncio.create_task(self._work_off(waiting))
        self._tasks[waiting.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(waiting.id, None))

    async def _work_off(self, waiting: Waiting) -> None:
        """Ask in time; an answer that says to come again is asked for again until the deadline."""
        assert self._store is not None  # noqa: S101 -- it has given out what waits
        await self._wait(waiting.deadline_s)
        while True:
            reply = await self._asked(waiting.request)
            if reply.status != 503 or time.time() > waiting.deadline_s:
                self._store.answer(waiting.id, reply)
                return
            await asyncio.sleep(_AGAIN_S)

    async def _asked(self, request: Request) -> Reply:
        try:
            route, found = self._router.find(request)
            reply = await route.handler(found)
        except RequestError as error:
            return error.reply()
        if isinstance(reply.body, Stream):
            return replace(reply, body=b"".join([part async for part in reply.body]))
        return reply

    async def _fetch(self, request: Request) -> Reply:
        name = request.matched["id"]
        if name in self._tasks:
            return _not_yet(name)
        reply = None if self._store is None else self._store.fetch(name)
        if reply is None:
            raise RequestError(404, "There is no such deferred request here, or its answer was too old to be kept.")
        return reply

    async def _forget(self, request: Request) -> Reply:
        name = request.matched["id"]
        if (task := self._tasks.get(name)) is not None:
            task.cancel()
        if self._store is None or not self._store.remove(name):
            raise RequestError(404, "There is no such deferred request here.")
        return json_reply({"removed": name})


def parse_deadline(text: str, *, now_s: float) -> float:
    """Return a deadline in seconds since 1970.

    Raises:
        RequestError: 400, it is neither seconds from now nor a time with its zone.
    """
    try:
        if text.replace(".", "", 1).isdigit():
            return now_s + float(text)
        time_given = dt.datetime.fromisoformat(text)
        if time_given.tzinfo is not None:
            return time_given.timestamp()
    except ValueError:
        pass
    raise RequestError(
        400, f"Overwinter-Deadline: {text[:60]!r} must be seconds from now, or a time such as 2026-11-21T18:00:00Z."
    )


def _not_yet(name: str) -> Reply:
    place = f"/overwinter/deferred/{name}"
    return json_reply(
        {"id": name, "status": "waiting", "location": place},
        status=202,
        headers={"Location": place, "Retry-After": str(round(_POLL_S)), "Preference-Applied": "respond-async"},
    )
