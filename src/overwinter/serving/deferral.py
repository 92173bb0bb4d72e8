"""Requests that wait for the lowest carbon intensity before their deadline.

A client sends `Overwinter-Deadline: 3600` (seconds from now, or a time such as 2026-11-21T18:00:00Z). Its request is
held on the connection until the best time; with `Prefer: respond-async` (RFC 7240) the client gets 202 and a `Location`
instead, where the response can be fetched for a while. Such a request is on disk before the 202 is sent, in memory only
while it runs, and survives a restart. If the disk is full, a response is served from memory and written once there is
room; the other requests wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from overwinter.errors import OverwinterError
from overwinter.serving.carbon_forecast import CarbonForecast
from overwinter.serving.deferred import DeferredStore, Waiting
from overwinter.serving.greenest import greenest_time_s, present_g_per_kwh
from overwinter.serving.held import HeldBytes
from overwinter.serving.messages import Handler, Reply, Request, RequestError, Route, json_reply
from overwinter.serving.metrics import Log
from overwinter.serving.routing import Router
from overwinter.serving.streams import Stream

if TYPE_CHECKING:
    from overwinter.config.groups.serve import DeferralConfig, LimitsConfig

DEADLINE = "overwinter-deadline"
_POLL_S = 30.0
_AGAIN_S = 5.0  # pause after a response with Retry-After, or a full disk
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{0,9})?")
_EPOCH = dt.datetime(1970, 1, 1)  # naive UTC: arithmetic with time zones fails at the years 1 and 9999


class Deferral:
    """Delays requests, and answers them before their deadline.

    Args:
        grid: The forecast of carbon intensity.
        settings: The group `serve.deferral`.
        limits: The server's limits: time for a response is reserved before the deadline, and held requests may take
            half of the connections and bytes.
        store: The store of asynchronous requests; None: only held requests can wait.
        held: Counts the bytes of requests in memory.
        log: The server's log.
    """

    def __init__(
        self,
        grid: CarbonForecast,
        settings: DeferralConfig,
        *,
        limits: LimitsConfig,
        store: DeferredStore | None,
        held: HeldBytes,
        log: Log,
    ) -> None:
        self._forecast, self._settings, self._limits, self._store, self._log = grid, settings, limits, store, log
        self._memory = held
        self._leaving, self._disk = asyncio.Event(), asyncio.Event()
        self._disk.set()  # whether the last write to the disk succeeded
        self._unwritten: dict[str, Reply] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._router = Router(())
        self._held, self._held_bytes = 0, 0

    @property
    def waiting(self) -> int:
        """Return the number of deferred requests."""
        return self._held + len(self._tasks)

    def over(self, routes: Iterable[Route]) -> list[Route]:
        """Return the routes, with deferral added to those that compute, and the routes of deferred responses."""
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
        """Resume the requests that were waiting before a restart."""
        if self._store is not None:
            self._store.drop_old()
            for waiting in self._store.waiting():
                self._begin(waiting)

    async def close(self) -> None:
        """Refuse held requests; the others are on disk."""
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
            if "respond-async" in request.headers.get("prefer", "").lower():
                return self._accept(request, deadline_s)
            if self.waiting >= self._settings.requests or not self._may_hold(len(request.body)):
                raise _too_many()
            await self._hold(deadline_s, len(request.body))
            return await handler(request)

        return deferring

    def _may_hold(self, size_bytes: int) -> bool:
        """Return whether another request may be held, so that enough connections and memory remain for others."""
        fits = self._held_bytes + size_bytes <= self._memory.max_bytes // 2
        return self._held < max(1, self._limits.connections // 2) and (fits or not self._held)

    async def _hold(self, deadline_s: float, size_bytes: int) -> None:
        self._held += 1
        self._held_bytes += size_bytes
        try:
            await self._wait(deadline_s)
        finally:
            self._held -= 1
            self._held_bytes -= size_bytes

    async def _wait(self, deadline_s: float) -> None:
        """Wait for the time of lowest carbon intensity that leaves time for a response."""
        first_g: float | None = None
        while not self._leaving.is_set():
            points, now_s = await self._forecast.points(), time.time()
            here_g = present_g_per_kwh(points, now_s=now_s)
            first_g = here_g if first_g is None else first_g
            begin_s = greenest_time_s(points, now_s=now_s, latest_s=deadline_s - self._limits.response_s)
            if begin_s <= now_s:
                self._log("deferred", g_per_kwh_at_arrival=first_g, g_per_kwh=here_g)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), min(begin_s - now_s, self._settings.refresh_s))
        raise RequestError(503, "The server is shutting down. Try again.", retry_after_s=_AGAIN_S)

    # Asynchronous requests.

    def _accept(self, request: Request, deadline_s: float) -> Reply:
        if self._store is None:
            raise RequestError(400, "Prefer: respond-async needs a folder: set serve.state.")
        if not self._store.could_hold(len(request.body)):
            raise RequestError(413, f"The body is larger than {self._settings.bytes} bytes (serve.deferral.bytes).")
        if not self._store.make_room(len(request.body), most=self._settings.requests - self._held):
            raise _too_many()
        try:
            waiting = self._store.add(request, deadline_s)
        except (OSError, OverwinterError) as error:
            self._log("not kept", message=str(error))
            message = "The request cannot be stored: the server's disk is full or read-only."
            raise RequestError(507, message, retry_after_s=_POLL_S) from None
        self._begin(waiting)
        return _not_yet(waiting.id)

    def _begin(self, waiting: Waiting) -> None:
        task = asyncio.create_task(self._work_off(waiting))
        self._tasks[waiting.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(waiting.id, None))

    async def _work_off(self, waiting: Waiting) -> None:
        """Run a request in time; one that gets Retry-After is retried until the deadline."""
        await self._wait(waiting.deadline_s)
        while True:
            await self._disk.wait()
            reply = await self._asked_within_memory(waiting)
            if reply.status != 503 or time.time() > waiting.deadline_s:
                break
            await asyncio.sleep(_AGAIN_S)
        await self._write_down(waiting.id, reply)

    async def _asked_within_memory(self, waiting: Waiting) -> Reply:
        assert self._store is not None  # noqa: S101 -- waiting requests come from the store
        await self._memory.room(waiting.size_bytes)
        self._memory.add(waiting.size_bytes)
        try:
            return await self._asked(self._store.request(waiting.id))
        except RequestError as error:
            return error.reply()
        except Exception as error:  # noqa: BLE001 -- one request must not be lost without a response
            self._log("error", message=f"{type(error).__name__}: {error}", deferred=waiting.id)
            return RequestError(500, "The server failed on this request; its log says why.").reply()
        finally:
            self._memory.remove(waiting.size_bytes)

    async def _write_down(self, name: str, reply: Reply) -> None:
        """Keep a response in memory until it is on disk; no other request runs while the disk is full."""
        assert self._store is not None  # noqa: S101 -- responses belong to the store
        self._unwritten[name] = reply
        try:
            while not self._written(name, reply):
                await asyncio.sleep(_AGAIN_S)
        finally:
            del self._unwritten[name]
            if not self._unwritten:
                self._disk.set()

    def _written(self, name: str, reply: Reply) -> bool:
        assert self._store is not None  # noqa: S101 -- responses belong to the store
        try:
            self._store.respond(name, reply)
        except (OSError, OverwinterError) as error:
            if self._disk.is_set():
                self._log("not kept", message=f"a response stays in memory, and other requests wait: {error}")
            self._disk.clear()
            return False
        return True

    async def _asked(self, request: Request) -> Reply:
        route, found = self._router.find(request)
        reply = await route.handler(found)
        if isinstance(reply.body, Stream):
            return replace(reply, body=b"".join([part async for part in reply.body]))
        return reply

    async def _fetch(self, request: Request) -> Reply:
        name = request.matched["id"]
        if name in self._unwritten:
            return self._unwritten[name]
        if self._store is not None and self._store.waits(name):
            return _not_yet(name)
        reply = None if self._store is None else self._store.fetch(name)
        if reply is None:
            raise RequestError(404, "No such deferred request, or its response has expired.")
        return reply

    async def _forget(self, request: Request) -> Reply:
        name = request.matched["id"]
        if (task := self._tasks.get(name)) is not None:
            task.cancel()
        if self._store is None or not self._store.remove(name):
            raise RequestError(404, "No such deferred request.")
        return json_reply({"removed": name})


def parse_deadline(text: str, *, now_s: float) -> float:
    """Return a deadline in seconds since 1970.

    Raises:
        RequestError: 400, the text is neither seconds from now nor a time with its zone.
    """
    if _SECONDS.fullmatch(text):
        return now_s + float(text)
    try:
        time_given = dt.datetime.fromisoformat(text)
    except ValueError:
        time_given = None
    if time_given is not None and (offset := time_given.utcoffset()) is not None:
        return (time_given.replace(tzinfo=None) - _EPOCH - offset).total_seconds()
    raise RequestError(
        400, f"Overwinter-Deadline: {text[:60]!r} must be seconds from now, or a time such as 2026-11-21T18:00:00Z."
    )


def _too_many() -> RequestError:
    message = "Too many requests are deferred, or too many responses were not fetched. Try again."
    return RequestError(503, message, retry_after_s=_POLL_S)


def _not_yet(name: str) -> Reply:
    place = f"/overwinter/deferred/{name}"
    return json_reply(
        {"id": name, "status": "waiting", "location": place},
        status=202,
        headers={"Location": place, "Retry-After": str(round(_POLL_S)), "Preference-Applied": "respond-async"},
    )
