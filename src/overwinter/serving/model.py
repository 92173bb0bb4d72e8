"""A served model: its queue, its replicas, and when it sleeps.

One task per replica either serves a request or idles, so that sleep cannot interrupt a request. The first replica
follows the sleep policy; others are added when the queue is long, and removed when it is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError
from overwinter.serving.messages import Call, Reply, RequestError
from overwinter.serving.metrics import Log, ModelMetrics
from overwinter.serving.persistence import Persistence
from overwinter.serving.plan import ModelPlan, ServePlan
from overwinter.serving.replica import Replica, WakeRefused
from overwinter.serving.sleep import Decision
from overwinter.serving.sleep_levels import make_policy, make_sleep_levels
from overwinter.serving.streams import Stream
from overwinter.serving.worker.records import FirstPiece, Piece
from overwinter.serving.worker.worker_process import WorkerDied

_MAX_IDLE_S = 3600.0  # then the policy decides again: the clock may have been set
CLIENT_LEFT = 499  # nginx's status: the client disconnected before its response, and the computation stopped
_KEEP_READY = ("window", "replicas.min")  # reasons to wake a model without a request


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    call: Call
    reply: asyncio.Future[Reply]
    since_s: float


class _Broken(Exception):  # noqa: N818 -- the worker lives
    """The model failed while it generated a response."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Order:
    """A user's order to move to a sleep level."""

    level: str
    done: asyncio.Future[None]


class Model:
    """A model that answers calls, and wakes and sleeps as needed. Call `start` in a running loop.

    Args:
        model: The model's plan.
        plan: The server's plan.
        model_metrics: The model's metrics.
        log: The server's log.
    """

    def __init__(self, model: ModelPlan, *, plan: ServePlan, model_metrics: ModelMetrics, log: Log) -> None:
        self.plan, self.model_metrics = model, model_metrics
        self._server, self._serve, self._log = plan, plan.serve, log
        self._sleep_levels = make_sleep_levels(plan.serve)
        self._policy = make_policy(plan.serve, self._sleep_levels)
        self._persistence = Persistence(model, plan.serve, log)
        self._persistence.restore(self._policy)
        self._free_slots = {level.name: place for place, level in enumerate(self._sleep_levels.levels)}
        self._queue: deque[_Job] = deque()
        self._orders: deque[_Order] = deque()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._first = self._replica(prefix=self._persistence.prefix)
        self._replicas = [self._first]
        self._held: str | None = None
        self._failures = 0
        self._next_s = math.inf
        self.why, self.refused = "no request yet", ""

    @property
    def state(self) -> str:
        """Return the sleep level of the first replica."""
        return self._first.level

    def start(self) -> None:
        """Start the tasks of the model."""
        self._begin(self._lead())
        for _ in range(self._serve.replicas.min - 1):
            self._add_replica()

    async def close(self) -> None:
        """Save the state, and stop the workers. Waiting requests get 503 with Retry-After."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._queue:
            _settle(self._queue.popleft().reply, RequestError(503, "The server is shutting down.", retry_after_s=1))
        self._persistence.save(self._policy)
        with contextlib.suppress(WorkerDied):
            await self._first.keep()
        for replica in self._replicas:
            await replica.close()

    async def ask(self, call: Call) -> Reply:
        """Return the reply to a call; wake the model if it sleeps.

        Raises:
            RequestError: 503, with Retry-After if a retry can help.
        """
        begin_s = time.monotonic()
        kept = self._persistence.respond(call)
        if kept is not None:
            self.model_metrics.answered(kept.status, within_s=time.monotonic() - begin_s, kept=True)
            return kept
        status = CLIENT_LEFT
        self._policy.arrived(time.time())
        try:
            reply = await self._ask(call)
            status = reply.status
        except RequestError as error:
            status = error.status
            raise
        finally:
            self.model_metrics.answered(status, within_s=time.monotonic() - begin_s)
        self._persistence.note(call, reply)
        return reply

    async def order(self, level: str) -> None:
        """Move to a sleep level by hand: wake (`ready`), or stay at a lower level until the next request.

        Raises:
            ConfigError: There is no such sleep level.
            WakeRefused: The model cannot be served.
            WorkerDied: The worker exited meanwhile.
        """
        if level not in self._free_slots:
            raise ConfigError(f"The sleep level {level!r} is unknown. Available: {', '.join(self._free_slots)}.")
        order = _Order(level=level, done=asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._changed.set()
        await order.done

    def status(self) -> dict[str, Any]:
        """Return the model's status."""
        saved = self.model_metrics.saved_j()
        return {
            "state": self.state,
            "why": self.why,
            "next_decision_in_s": self._next_decision_in_s(),
            "refused": self.refused or None,
            "version": self.plan.digest[:12],
            "queue": len(self._queue),
            "replicas": len(self._replicas),
            "workers": [replica.pid for replica in self._replicas if replica.pid is not None],
            "requests": self.model_metrics.requests,
            "wakes": self.model_metrics.wakes,
            "crashes": self.model_metrics.crashes,
            "state_s": self.model_metrics.seconds(),
            "responding_s": self.model_metrics.responding_s,
            "energy_j": self.model_metrics.joules(),
            "energy_basis": self._serve.power_draw.source or "guessed watts: no saving is reported",
            "saved_j": saved and {"value": saved[0], "standard_uncertainty": saved[1]},
        }

    def _next_decision_in_s(self) -> float | None:
        """Return the time to the policy's next decision without an event; None: never."""
        return None if math.isinf(self._next_s) else max(0.0, self._next_s - time.time())

    async def _ask(self, call: Call) -> Reply:
        if self.refused:
            raise RequestError(503, f"The model is not served: {self.refused}")
        if len(self._queue) >= self._serve.limits.queue:
            raise RequestError(503, "Too many requests wait for this model. Try again.", retry_after_s=1)
        job = _Job(call=call, reply=asyncio.get_running_loop().create_future(), since_s=time.monotonic())
        self._queue.append(job)
        self._held = None
        self._changed.set()
        self._consider_replicas()
        self._watch_wait(job)
        try:
            return await asyncio.wait_for(job.reply, call.deadline_s)
        except TimeoutError:
            raise RequestError(503, f"No response within {call.deadline_s:g} s. Try again.", retry_after_s=1) from None
        finally:
            if job in self._queue:
                self._queue.remove(job)

    def _replica(self, prefix: Path | None = None) -> Replica:
        return Replica(
            self.plan,
            plan=self._server,
            model_metrics=self.model_metrics,
            changed=self._changed.set,
            prefix=prefix,
        )

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The first replica.

    async def _lead(self) -> None:
        while True:
            try:
                if self._orders:
                    await self._obey(self._orders.popleft())
                elif (job := self._next_job()) is not None:
                    await self._respond(self._first, job)
                else:
                    await self._stay_idle()
            except WorkerDied as error:
                await self._back_off(error)
            except WakeRefused as error:
                self._refuse(error)

    async def _obey(self, order: _Order) -> None:
        self._held = None if order.level == "ready" else order.level
        if order.level == "ready":
            self.refused = ""
        try:
            await self._first.reach(order.level, reason="by hand")
        except (WorkerDied, WakeRefused) as error:
            _settle(order.done, error)
            raise
        self.why = "by hand"
        _settle(order.done, None)

    async def _stay_idle(self) -> None:
        """Follow the sleep policy until there is work."""
        self._policy.began_idle(time.time())
        last = 0
        while not (self._orders or self._queue):
            if self._first.died:
                await self._restart()
                continue
            decision = self._decide()
            await self._follow(decision, rises=decision.level < last or decision.reason in _KEEP_READY)
            last, self._next_s = decision.level, decision.until_s
            await self._wait(decision.until_s - time.time())

    async def _follow(self, decision: Decision, *, rises: bool) -> None:
        """Move to a lower level as the policy decides; to a higher one only for a reason other than a request."""
        place = self._free_slots.get(
            self._first.level, len(self._free_slots)
        )  # `off` is below levels that do not include it
        if decision.level < place and (self.refused or not rises):
            return
        self.why = decision.reason
        if decision.level > place:
            self._persistence.save(self._policy)
        await self._first.reach(self._sleep_levels.levels[decision.level].name, reason=decision.reason)

    async def _restart(self) -> None:
        """Restart a worker that exited while idle, and return it to its sleep level."""
        level = self._first.level
        await self._first.reach("off", reason="crash")
        await self._back_off(WorkerDied(f"the worker exited while {level}"))
        await self._first.reach(level, reason="restart")

    def _decide(self) -> Decision:
        if self._held is not None:
            return Decision(level=self._free_slots[self._held], until_s=math.inf, reason="by hand")
        if self._serve.replicas.min > 0:
            return Decision(level=0, until_s=math.inf, reason="replicas.min")
        return self._policy.decide(time.time())

    async def _wait(self, duration_s: float) -> None:
        """Wait for a change. The caller awaits nothing between its check of the queue and this, so none is lost."""
        if self._orders or self._queue or self._first.died:
            return
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), min(max(duration_s, 0.0), _MAX_IDLE_S))

    # Every replica.

    def _next_job(self) -> _Job | None:
        while self._queue:
            job = self._queue.popleft()
            if not job.reply.done():
                return job
        return None

    async def _respond(self, replica: Replica, job: _Job) -> None:
        """Answer one request; if its worker dies, retry an idempotent one once."""
        for retried in (False, True):
            if not await self._wake_for(replica, job):
                return
            self._consider_replicas()
            if not retried:
                self.model_metrics.waited(time.monotonic() - job.since_s)
            begin_s = time.monotonic()
            try:
                first, body = await self._first_piece(replica, job)
            except WorkerDied as error:
                if retried or not job.call.idempotent:
                    message = "The worker died during this request; see the server's log."
                    _settle(job.reply, RequestError(503, message, retry_after_s=1))
                await self._back_off(error)
            else:
                self._failures = 0
                await self._pass_on(replica, job, first, body)
                self.model_metrics.responding_s += time.monotonic() - begin_s
                return

    async def _first_piece(self, replica: Replica, job: _Job) -> tuple[FirstPiece, bytes]:
        """Return the first piece of a response; a text is cancelled if its client disconnects meanwhile."""

        def end(reply: asyncio.Future[Reply]) -> None:
            if reply.cancelled():
                replica.cancel()

        job.reply.add_done_callback(end)
        begin_s = time.monotonic()
        try:
            answered = await replica.respond(job.call, within_s=self._serve.limits.response_s)
        finally:
            job.reply.remove_done_callback(end)
        self.model_metrics.computed.add(time.monotonic() - begin_s)
        return answered

    async def _pass_on(self, replica: Replica, job: _Job, first: FirstPiece, body: bytes) -> None:
        """Pass the response to the client, whole or as a stream."""
        if not first.more:
            _settle(job.reply, Reply(status=first.status, headers=first.headers, body=body))
            return
        stream = Stream()
        if job.reply.done():
            stream.abandon()
        _settle(job.reply, Reply(status=first.status, headers=first.headers, body=stream))
        try:
            await self._stream(replica, first, body, stream)
        except (WorkerDied, _Broken) as error:
            stream.put(job.call.if_broken)
            if isinstance(error, WorkerDied):
                await self._back_off(error)
        finally:
            stream.end()

    async def _stream(self, replica: Replica, piece: Piece, body: bytes, stream: Stream) -> None:
        """Read a response to its end, which comes soon after its client disconnects."""
        cancelled = False
        stream.put(body)
        while piece.more:
            if stream.abandoned and not cancelled:
                replica.cancel()
                cancelled = True
            piece, body = await replica.go_on(within_s=self._serve.limits.response_s)
            if piece.broken:
                raise _Broken
            stream.put(body)

    async def _wake_for(self, replica: Replica, job: _Job) -> bool:
        """Wake, with retries; return whether a client still waits for the response."""
        while not job.reply.done():
            try:
                await replica.reach("ready", reason="request")
            except WorkerDied as error:
                await self._back_off(error)
            except WakeRefused as error:
                self._refuse(error)
                _settle(job.reply, RequestError(503, f"The model is not served: {error}"))
            else:
                self.why = "busy"
                break
        return not job.reply.done()

    async def _back_off(self, error: WorkerDied) -> None:
        worker = self._serve.worker
        pause_s = min(worker.backoff_s * 2 ** min(self._failures, 60), worker.max_backoff_s)
        self._failures += 1
        self._log("crash", model=self.plan.name, message=str(error), pause_s=pause_s)
        await asyncio.sleep(pause_s)

    def _refuse(self, error: WakeRefused) -> None:
        self.refused = self.why = str(error)
        self._log("refused", model=self.plan.name, message=str(error))
        while self._queue:
            _settle(self._queue.popleft().reply, RequestError(503, f"The model is not served: {error}"))

    # The other replicas.

    def _consider_replicas(self) -> None:
        """Add a replica if the queue is long."""
        if len(self._queue) > self._serve.replicas.queue_per_replica * len(self._replicas):
            self._add_if_allowed()

    def _watch_wait(self, job: _Job) -> None:
        """Add a replica whenever a request has waited for `wait_s`, until it is answered."""
        if (wait_s := self._serve.replicas.wait_s) is not None:
            asyncio.get_running_loop().call_later(wait_s, self._consider_wait, job)

    def _consider_wait(self, job: _Job) -> None:
        if job in self._queue:
            self._add_if_allowed()
            self._watch_wait(job)

    def _add_if_allowed(self) -> None:
        if len(self._replicas) < self._serve.replicas.max and self._first.level == "ready":
            self._add_replica()

    def _add_replica(self) -> None:
        replica = self._replica()
        self._replicas.append(replica)
        self._begin(self._help(replica))

    async def _help(self, replica: Replica) -> None:
        try:
            while True:
                await replica.reach("ready", reason="queue")
                if (job := self._next_job()) is not None:
                    await self._respond(replica, job)
                elif not await self._is_wanted():
                    return
        except WakeRefused as error:
            self._refuse(error)
        except WorkerDied as error:
            await self._back_off(error)
        finally:
            await replica.close()
            self._replicas.remove(replica)
            self.model_metrics.left(replica)

    async def _is_wanted(self) -> bool:
        """Wait for work; return whether it came in time or the replica must stay anyway."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), self._serve.replicas.idle_s)
        except TimeoutError:
            return len(self._replicas) <= self._serve.replicas.min
        return True


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Set a future's result or exception, if it is not done."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
