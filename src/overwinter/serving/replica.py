"""One worker of a model, and its sleep level."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from overwinter.errors import IntegrityError
from overwinter.serving.messages import Call
from overwinter.serving.metrics import ModelMetrics
from overwinter.serving.plan import ModelPlan, ServePlan
from overwinter.serving.worker.frames import Frame
from overwinter.serving.worker.records import (
    IMPORT,
    KEEP,
    PARK,
    FirstPiece,
    Order,
    Piece,
    Question,
    Record,
    Report,
    WakeOrder,
)
from overwinter.serving.worker.worker_process import WorkerDied, WorkerProcess, WorkerSilent
from overwinter.serving.worker.worker_start import start_worker

_WRITING_SHARE = 0.9  # share of the time limit after which a text is ended, so that it is not lost
_MAX_SLOW_WAKES = (
    3  # in a row: one may be due to a busy machine, but a model that never wakes would keep a core busy forever
)

_Kind = TypeVar("_Kind", bound=Record)


class WakeRefused(Exception):  # noqa: N818 -- a verdict on the bundle, not an error of the server
    """The bundle must not be served: it was altered, its canary's output differs, or its wakes take too long."""


class Replica:
    """A worker process, used by one task only.

    Args:
        model: The model's plan.
        plan: The server's plan.
        model_metrics: Receives every change of state.
        changed: Called when the process ends.
        prefix: The file of a language model's prefix cache; None: no cache over sleep.
    """

    def __init__(
        self,
        model: ModelPlan,
        *,
        plan: ServePlan,
        model_metrics: ModelMetrics,
        changed: Callable[[], None],
        prefix: Path | None = None,
    ) -> None:
        self._model, self._plan, self._settings = model, plan, plan.serve.worker
        self._model_metrics, self._changed, self._prefix = model_metrics, changed, prefix
        self._process: WorkerProcess | None = None
        self._watches: dict[WorkerProcess, asyncio.Task[None]] = {}
        self._slow_wakes = 0  # since it last woke
        self.level = "off"
        model_metrics.entered(self, "off", reason="start")

    @property
    def pid(self) -> int | None:
        """Return the id of the process, if there is one."""
        return self._process.pid if self._process and self._process.alive else None

    @property
    def died(self) -> bool:
        """Return whether the process exited by itself."""
        return self._process is not None and not self._process.alive

    async def reach(self, level: str, *, reason: str) -> None:
        """Move to a sleep level.

        Raises:
            WorkerDied: The worker exited meanwhile; the replica is then off.
            WakeRefused: The bundle must not be served; the replica is then off.
        """
        if self.died:
            await self._stop("crash")
        if level == self.level:
            return
        if level != "ready":
            await self.keep()
        if level == "off":
            await self._stop(reason)
        elif level == "preforked":
            await self._prefork(reason)
        else:
            if self.level != "ready":
                await self._wake(reason)
            if level == "parked":
                await self._send(PARK, self._settings.stop_s)
            self._enter(level, reason)

    async def respond(self, call: Call, *, within_s: float) -> tuple[FirstPiece, bytes]:
        """Send a request to the woken model; return the first piece of its response.

        Raises:
            WorkerDied: The worker exited meanwhile; the replica is then off.
        """
        question = Question(
            operation=call.operation,
            headers=dict(call.headers),
            model=call.model,
            within_s=within_s * _WRITING_SHARE,
        )
        return await self._ask(question, FirstPiece, within_s, call.body)

    async def go_on(self, *, within_s: float) -> tuple[Piece, bytes]:
        """Return the next piece of a response whose last piece had `more`.

        Raises:
            WorkerDied: The worker exited meanwhile; the replica is then off.
        """
        assert self._process is not None  # noqa: S101 -- a response has begun
        return await self._read(self._process.next_frame(within_s=within_s), Piece)

    def cancel(self) -> None:
        """Cancel the worker's response, if the worker is alive; the rest of it must still be read."""
        if self._process is not None:
            self._process.cancel()

    async def keep(self) -> None:
        """Let a ready model save its state before sleep."""
        if self._prefix is not None and self.level == "ready" and self._process is not None and self._process.listens:
            await self._send(KEEP, self._settings.wake_s)

    async def close(self) -> None:
        """Stop every process, including those whose stop was interrupted by a cancelled task."""
        self._process = None
        watches = dict(self._watches)
        for process in watches:
            await process.stop(within_s=self._settings.stop_s)
        await asyncio.gather(*watches.values())

    async def _send(self, order: Order, within_s: float) -> Report:
        report, _ = await self._ask(order, Report, within_s)
        return report

    async def _ask(self, order: Order, kind: type[_Kind], within_s: float, body: bytes = b"") -> tuple[_Kind, bytes]:
        assert self._process is not None  # noqa: S101 -- `reach` came first
        return await self._read(self._process.ask(order, body, within_s=within_s), kind)

    async def _read(self, response: Awaitable[Frame], kind: type[_Kind]) -> tuple[_Kind, bytes]:
        try:
            frame = await response
            return kind.read(frame.header), frame.body
        except WorkerDied:
            await self._stop("crash")
            raise
        except IntegrityError as error:
            await self._stop("crash")
            raise WorkerDied(str(error)) from None

    async def _wake(self, reason: str) -> None:
        begin_s, left = time.monotonic(), self.level
        self._enter("waking", reason)
        try:
            process = self._process or await self._start()
        except WorkerDied:
            self._enter("off", "crash")
            raise
        self._process = process
        try:
            report = await self._send(self._wake_order(), self._settings.wake_s)
        except WorkerSilent as error:
            self._count_slow_wake(error)
            raise
        self._slow_wakes = 0
        if report.status != "ready":
            await self._stop("refused")
            raise WakeRefused(report.error)
        duration_s = time.monotonic() - begin_s
        steps_s = {"start": duration_s - report.wake_s, **report.steps_s}
        self._model_metrics.woke(left, duration_s, steps_s=steps_s)

    def _wake_order(self) -> WakeOrder:
        return WakeOrder(
            bundle=self._model.bundle,
            digest=self._model.digest,
            keys=self._plan.keys,
            opening=self._plan.opening,
            trusted=self._plan.trusted,
            threads=self._settings.threads,
            json_values=self._plan.serve.limits.json_values,
            response_tokens=self._plan.serve.limits.response_tokens,
            keeps_prefix=self._plan.serve.persistence.prefix_cache,
            prefix=None if self._prefix is None else str(self._prefix),
        )

    def _count_slow_wake(self, error: WorkerSilent) -> None:
        self._slow_wakes += 1
        if self._slow_wakes >= _MAX_SLOW_WAKES:
            raise WakeRefused(
                f"{self._slow_wakes} wakes in a row took longer than {self._settings.wake_s:g} s. Raise "
                "serve.worker.wake_s if the model is that large; `overwinter wake` retries."
            ) from error

    async def _prefork(self, reason: str) -> None:
        """Start the next process before the old one exits, so that a request in between finds one.

        Its start and imports keep a core busy, as a wake does, and are counted as such.
        """
        old = self._process
        self._enter("waking", reason)
        try:
            self._process = await self._start()
            await self._send(IMPORT, self._settings.wake_s)
            self._enter("preforked", reason)
        except WorkerDied:
            self._enter("off", "crash")
            raise
        finally:
            if old is not None and old is not self._process:
                await old.stop(within_s=self._settings.stop_s)

    async def _start(self) -> WorkerProcess:
        launcher = self._settings.launcher
        process = await start_worker(self._model.kind, trusted=self._plan.trusted, launcher=launcher)
        self._watches[process] = asyncio.create_task(self._watch(process))
        return process

    async def _watch(self, process: WorkerProcess) -> None:
        await process.ended()
        del self._watches[process]
        self._changed()

    async def _stop(self, reason: str) -> None:
        process, self._process = self._process, None
        self._enter("off", reason)
        if process is not None:
            await process.stop(within_s=self._settings.stop_s)

    def _enter(self, level: str, reason: str) -> None:
        self.level = level
        self._model_metrics.entered(self, level, reason=reason)
