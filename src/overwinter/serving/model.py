"""A served model: its queue, its replicas, and when it sleeps.

One task per replica either serves or rests, so that going to sleep cannot cut a request. The first replica
walks the ladder, as the policy says; the others come when the queue is long, and leave when it is not.
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
from overwinter.serving.idle_states import make_ladder, make_policy
from overwinter.serving.messages import Call, Reply, RequestError
from overwinter.serving.metrics import Accounts, Log
from overwinter.serving.persistence import Keeping
from overwinter.serving.plan import ModelPlan, Plan
from overwinter.serving.replica import Replica, WakeRefused
from overwinter.serving.sleep import Decision
from overwinter.serving.streams import Stream
from overwinter.serving.worker.records import FirstPiece, Piece
from overwinter.serving.worker.worker_process import WorkerDied

_LONGEST_REST_S = 3600.0  # then the policy is asked again: the clock may have been set
CLIENT_LEFT = 499  # as nginx counts it: the client has left before its answer, which is computed no further
_KEEP_READY = ("window", "replicas.fewest")  # reasons to wake a model that nobody asks


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    call: Call
    reply: asyncio.Future[Reply]
    since_s: float


class _Broken(Exception):  # noqa: N818 -- the worker lives
    """The model failed while it wrote."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Order:
    """What a person said: be on this rung."""

    rung: str
    done: asyncio.Future[None]


class Model:
    """Answers calls, waking and resting as need be. `start` it in a running loop.

    Args:
        model: what to serve.
        plan: of the server.
        accounts: of this model.
        log: of the server.
    """

    def __init__(self, model: ModelPlan, *, plan: Plan, accounts: Accounts, log: Log) -> None:
        self.plan, self.accounts = model, accounts
        self._server, self._serve, self._log = plan, plan.serve, log
        self._ladder = make_ladder(plan.serve)
        self._policy = make_policy(plan.serve, self._ladder)
        self._keeping = Keeping(model, plan.serve, log)
        self._keeping.restore(self._policy)
        self._places = {rung.name: place for place, rung in enumerate(self._ladder.rungs)}
        self._queue: deque[_Job] = deque()
        self._orders: deque[_Order] = deque()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._first = self._replica(prefix=self._keeping.prefix)
        self._replicas = [self._first]
        self._held: str | None = None
        self._failures = 0
        self._next_s = math.inf
        self.why, self.refused = "not asked yet", ""

    @property
    def state(self) -> str:
        """Of the first replica."""
        return self._first.rung

    def start(self) -> None:
        """Begin to serve and to rest."""
        self._begin(self._lead())
        for _ in range(self._serve.replicas.fewest - 1):
            self._add_replica()

    async def close(self) -> None:
        """Keep what must be kept, and end the workers. Requests that wait are told to come again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._queue:
            _settle(self._queue.popleft().reply, RequestError(503, "The server leaves.", retry_after_s=1))
        self._keeping.save(self._policy)
        with contextlib.suppress(WorkerDied):
            await self._first.keep()
        for replica in self._replicas:
            await replica.close()

    async def ask(self, call: Call) -> Reply:
        """Answer a call, waking the model if it sleeps.

        Raises:
            RequestError: 503, with the time to try again where that makes sense.
        """
        begin_s = time.monotonic()
        kept = self._keeping.answer(call)
        if kept is not None:
            self.accounts.answered(kept.status, within_s=time.monotonic() - begin_s, kept=True)
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
            self.accounts.answered(status, within_s=time.monotonic() - begin_s)
        self._keeping.note(call, reply)
        return reply

    async def order(self, rung: str) -> None:
        """Do what a person says: wake (`ready`), or rest on a rung until the next request.

        Raises:
            ConfigError: there is no such rung.
            WakeRefused: the model cannot be served.
            WorkerDied: the worker ended on the way.
        """
        if rung not in self._places:
            raise ConfigError(f"The rung {rung!r} is unknown. Known here: {', '.join(self._places)}.")
        order = _Order(rung=rung, done=asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._changed.set()
        await order.done

    def status(self) -> dict[str, Any]:
        """Say how it is, and why."""
        saved = self.accounts.saved_j()
        return {
            "state": self.state,
            "why": self.why,
            "next_decision_in_s": self._next_decision_in_s(),
            "refused": self.refused or None,
            "version": self.plan.digest[:12],
            "queue": len(self._queue),
            "replicas": len(self._replicas),
            "workers": [replica.pid for replica in self._replicas if replica.pid is not None],
            "requests": self.accounts.requests,
            "wakes": self.accounts.wakes,
            "crashes": self.accounts.crashes,
            "state_s": self.accounts.seconds(),
            "energy_j": self.accounts.joules(),
            "energy_basis": self._serve.draws.source or "guessed watts: no saving is claimed",
            "saved_j": saved and {"value": saved[0], "standard_uncertainty": saved[1]},
        }

    def _next_decision_in_s(self) -> float | None:
        """Return when the policy decides anew if nothing happens; None: never."""
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
            raise RequestError(503, f"No answer within {call.deadline_s:g} s. Try again.", retry_after_s=1) from None
        finally:
            if job in self._queue:
                self._queue.remove(job)

    def _replica(self, prefix: Path | None = None) -> Replica:
        return Replica(
            self.plan,
            plan=self._server,
            accounts=self.accounts,
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
                    await self._answer(self._first, job)
                else:
                    await self._rest()
            except WorkerDied as error:
                await self._back_off(error)
            except WakeRefused as error:
                self._refuse(error)

    async def _obey(self, order: _Order) -> None:
        self._held = None if order.rung == "ready" else order.rung
        if order.rung == "ready":
            self.refused = ""
        try:
            await self._first.reach(order.rung, reason="by hand")
        except (WorkerDied, WakeRefused) as error:
            _settle(order.done, error)
            raise
        self.why = "by hand"
        _settle(order.done, None)

    async def _rest(self) -> None:
        """Rest as the policy says, until there is something to do."""
        self._policy.began_idle(time.time())
        last = 0
        while not (self._orders or self._queue):
            if self._first.died:
                await self._restart()
                continue
            decision = self._decide()
            await self._follow(decision, rises=decision.rung < last or decision.reason in _KEEP_READY)
            last, self._next_s = decision.rung, decision.until_s
            await self._wait(decision.until_s - time.time())

    async def _follow(self, decision: Decision, *, rises: bool) -> None:
        """Go down as the policy says; up only where it has a reason to, since nobody asks."""
        place = self._places.get(self._first.rung, len(self._places))  # `off` is below a ladder that does not have it
        if decision.rung < place and (self.refused or not rises):
            return
        self.why = decision.reason
        if decision.rung > place:
            self._keeping.save(self._policy)
        await self._first.reach(self._ladder.rungs[decision.rung].name, reason=decision.reason)

    async def _restart(self) -> None:
        """Bring a worker that ended while it rested back to its rung."""
        rung = self._first.rung
        await self._first.reach("off", reason="crash")
        await self._back_off(WorkerDied(f"the worker ended while it was {rung}"))
        await self._first.reach(rung, reason="restart")

    def _decide(self) -> Decision:
        if self._held is not None:
            return Decision(rung=self._places[self._held], until_s=math.inf, reason="by hand")
        if self._serve.replicas.fewest > 0:
            return Decision(rung=0, until_s=math.inf, reason="replicas.fewest")
        return self._policy.decide(time.time())

    async def _wait(self, duration_s: float) -> None:
        """Wait for a change. Nothing is awaited between the caller's look at the queue and this, so none is lost."""
        if self._orders or self._queue or self._first.died:
            return
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), min(max(duration_s, 0.0), _LONGEST_REST_S))

    # Every replica.

    def _next_job(self) -> _Job | None:
        while self._queue:
            job = self._queue.popleft()
            if not job.reply.done():
                return job
        return None

    async def _answer(self, replica: Replica, job: _Job) -> None:
        """Answer one request; one that a worker died over is asked once more, if that does no harm."""
        for retried in (False, True):
            if not await self._wake_for(replica, job):
                return
            self._consider_replicas()
            if not retried:
                self.accounts.waited(time.monotonic() - job.since_s)
            try:
                first, body = await self._first_piece(replica, job)
            except WorkerDied as error:
                if retried or not job.call.idempotent:
                    message = "The worker died over this request; the server's log says how."
                    _settle(job.reply, RequestError(503, message, retry_after_s=1))
                await self._back_off(error)
            else:
                self._failures = 0
                await self._pass_on(replica, job, first, body)
                return

    async def _first_piece(self, replica: Replica, job: _Job) -> tuple[FirstPiece, bytes]:
        """Return what a worker answers first; a text is ended early if its client leaves meanwhile."""

        def end(reply: asyncio.Future[Reply]) -> None:
            if reply.cancelled():
                replica.cancel()

        job.reply.add_done_callback(end)
        begin_s = time.monotonic()
        try:
            answered = await replica.answer(job.call, within_s=self._serve.limits.answer_s)
        finally:
            job.reply.remove_done_callback(end)
        self.accounts.computed.add(time.monotonic() - begin_s)
        return answered

    async def _pass_on(self, replica: Replica, job: _Job, first: FirstPiece, body: bytes) -> None:
        """Give the client the answer, whole, or as it is written."""
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
        """Hear an answer to its end, which comes soon after nobody reads it any more."""
        cancelled = False
        stream.put(body)
        while piece.more:
            if stream.abandoned and not cancelled:
                replica.cancel()
                cancelled = True
            piece, body = await replica.go_on(within_s=self._serve.limits.answer_s)
            if piece.broken:
                raise _Broken
            stream.put(body)

    async def _wake_for(self, replica: Replica, job: _Job) -> bool:
        """Wake, as often as it takes; return whether somebody still waits for the answer."""
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
        pause_s = min(worker.backoff_s * 2 ** min(self._failures, 60), worker.longest_backoff_s)
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
        """Add one if the queue is long."""
        if len(self._queue) > self._serve.replicas.queue_per_replica * len(self._replicas):
            self._add_if_allowed()

    def _watch_wait(self, job: _Job) -> None:
        """Add one whenever a request has waited for as long as it may, until it is answered."""
        if (wait_s := self._serve.replicas.wait_s) is not None:
            asyncio.get_running_loop().call_later(wait_s, self._consider_wait, job)

    def _consider_wait(self, job: _Job) -> None:
        if job in self._queue:
            self._add_if_allowed()
            self._watch_wait(job)

    def _add_if_allowed(self) -> None:
        if len(self._replicas) < self._serve.replicas.most and self._first.rung == "ready":
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
                    await self._answer(replica, job)
                elif not await self._is_wanted():
                    return
        except WakeRefused as error:
            self._refuse(error)
        except WorkerDied as error:
            await self._back_off(error)
        finally:
            await replica.close()
            self._replicas.remove(replica)
            self.accounts.left(replica)

    async def _is_wanted(self) -> bool:
        """Wait for work; return whether it came in time, or the replica stays anyway."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), self._serve.replicas.idle_s)
        except TimeoutError:
            return len(self._replicas) <= self._serve.replicas.fewest
        return True


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give a future its result or its exception, if somebody still waits for it."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
