"""The supervisor: opens the port, starts the models, and shuts down in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from overwinter.errors import OverwinterError
from overwinter.serving.access import open_access, tls_context
from overwinter.serving.carbon_forecast import CarbonForecast
from overwinter.serving.connection_slots import ConnectionSlots
from overwinter.serving.control import Control
from overwinter.serving.deferral import Deferral
from overwinter.serving.deferred import DeferredStore
from overwinter.serving.held import HeldBytes
from overwinter.serving.http import HttpServer
from overwinter.serving.inference import Inference
from overwinter.serving.listening import allow_connections, open_sockets
from overwinter.serving.metrics import Metrics, ModelMetrics
from overwinter.serving.model import Model
from overwinter.serving.openai import OpenAI
from overwinter.serving.plan import ServePlan
from overwinter.serving.prediction import Prediction
from overwinter.serving.readiness import notify_ready
from overwinter.serving.routing import Router
from overwinter.serving.state_lock import locked
from overwinter.serving.triton import Triton
from overwinter.serving.worker.worker_start import prepare_to_fork

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

# Open files besides clients' connections: logs, listeners and files; a socket and a handle per worker.
_DESCRIPTORS, _DESCRIPTORS_PER_WORKER = 32, 4


class JsonLog:
    """A log that writes each event as a line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: str, **facts: Any) -> None:
        """Write an event; a full disk does not stop the server."""
        with contextlib.suppress(OSError):
            self._stream.write(json.dumps({"time_s": round(time.time(), 3), "event": event, **facts}) + "\n")
            self._stream.flush()


async def serve(plan: ServePlan) -> None:
    """Serve until SIGTERM or SIGINT, or until the server was idle for `serve.idle_exit_s`.

    Raises:
        OverwinterError: The address cannot be listened on, the log cannot be written, or another server uses the
            state.
        ConfigError: Other users can read a secret, or a certificate is not valid.
    """
    settings = plan.serve
    with locked(settings.state), _log_stream(settings.log) as stream:
        log, metrics = JsonLog(stream), Metrics()
        models = {
            model.name: Model(
                model,
                plan=plan,
                model_metrics=ModelMetrics(model.name, power_draw=settings.power_draw, metrics=metrics, log=log),
                log=log,
            )
            for model in plan.models
        }
        response_s = settings.limits.response_s
        held = HeldBytes(settings.limits.held_bytes)
        deferral = _deferral(plan, held, log)
        adapters = (
            Triton(models),
            Inference(models, response_s=response_s),
            Prediction(models, response_s=response_s),
            OpenAI(models, response_s=response_s, max_values=settings.limits.json_values),
            Control(models, metrics, deferred=lambda: deferral.waiting),
        )
        routes = deferral.over(route for adapter in adapters for route in adapter.routes())
        http_server = _http_server(Router(routes), settings, held=held, models=len(models), log=log)
        listeners = open_sockets(settings)
        http_server.listen(listeners)
        async with _accounted(plan, models, log):
            prepare_to_fork()
            for model in models.values():
                model.start()
            deferral.start()
            _announce(listeners, settings, models, log)
            notify_ready()
            await _until_signalled(lambda: 0.0 if deferral.waiting else http_server.idle_s(), settings.idle_exit_s)
            await http_server.stop_listening()
            log("leaving")
            await deferral.close()
            await http_server.close(within_s=settings.limits.response_s)
            for model in models.values():
                await model.close()


def _http_server(router: Router, settings: ServeConfig, *, held: HeldBytes, models: int, log: JsonLog) -> HttpServer:
    limits = settings.limits
    spare = _DESCRIPTORS + _DESCRIPTORS_PER_WORKER * models * settings.replicas.max
    connections = allow_connections(limits.connections, spare=spare)
    if connections < limits.connections:
        log("fewer connections", connections=connections, message="RLIMIT_NOFILE allows no more.")
    return HttpServer(
        router,
        limits,
        access=open_access(settings.host, settings.access),
        held=held,
        log=log,
        slots=ConnectionSlots(connections, limits.connections_per_address),
        tls=tls_context(settings.access),
        logs_requests=settings.log_requests,
    )


def _deferral(plan: ServePlan, held: HeldBytes, log: JsonLog) -> Deferral:
    settings = plan.serve.deferral
    store = None
    if plan.serve.state is not None:
        folder = Path(plan.serve.state) / "deferred"
        store = DeferredStore(folder, max_bytes=settings.bytes, retention_s=settings.retention_s, log=log)
    return Deferral(
        CarbonForecast(plan.carbon, refresh_s=settings.refresh_s, log=log),
        settings,
        limits=plan.serve.limits,
        store=store,
        held=held,
        log=log,
    )


def _accounted(plan: ServePlan, models: dict[str, Model], log: JsonLog) -> contextlib.AbstractAsyncContextManager[None]:
    """Return the context that keeps the server's entries in the ledger, if it has one."""
    if plan.ledger is None:
        return contextlib.nullcontext()
    from overwinter.serving.accounts import accounted

    metrics = {name: model.model_metrics for name, model in models.items()}
    return accounted(plan.ledger, metrics, carbon=plan.carbon, log=log)


@contextlib.contextmanager
def _log_stream(path: str | None) -> Any:
    if path is None:
        yield sys.stderr
        return
    try:
        stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", encoding="utf-8")
    except OSError as error:
        raise OverwinterError(f"serve.log={path!r} cannot be written: {error.strerror}.") from None
    with stream:
        yield stream


def _announce(listeners: list[socket.socket], settings: ServeConfig, models: dict[str, Model], log: JsonLog) -> None:
    for listener in listeners:
        address = _address(listener.getsockname(), tls=settings.access.tls_cert is not None)
        log("serving", address=address, models=list(models))
        print(f"{', '.join(models)}: {address}", flush=True)


def _address(name: tuple[str, int] | str, *, tls: bool) -> str:
    if isinstance(name, str):  # a Unix socket from systemd
        return f"unix:{name}"
    host, port = name[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


async def _until_signalled(idle_s: Callable[[], float], idle_exit_s: float | None) -> None:
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    while not signalled.is_set():
        left_s = None if idle_exit_s is None else idle_exit_s - idle_s()
        if left_s is not None and left_s <= 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(signalled.wait(), left_s)
