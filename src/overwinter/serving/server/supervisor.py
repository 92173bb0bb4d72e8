"""The supervisor: opens the port, starts the models, and leaves in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from overwinter.errors import ConfigError, OverwinterError
from overwinter.serving.server.accounts import Accounts, Metrics
from overwinter.serving.server.control import Control
from overwinter.serving.server.http import Door
from overwinter.serving.server.inference import Inference
from overwinter.serving.server.model import Model
from overwinter.serving.server.plan import Plan
from overwinter.serving.server.routing import Router

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

_LEAST_TOKEN_BYTES = 16


class JsonLog:
    """Writes each event as a line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: str, **facts: Any) -> None:
        """Write it; a full disk stops no service."""
        with contextlib.suppress(OSError):
            self._stream.write(json.dumps({"time_s": round(time.time(), 3), "event": event, **facts}) + "\n")
            self._stream.flush()


async def serve(plan: Plan) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OverwinterError: the address cannot be listened on, or the log not written.
        ConfigError: the token file is no secret.
    """
    settings = plan.serve
    with _log_stream(settings.log) as stream:
        log, metrics = JsonLog(stream), Metrics()
        models = {
            model.name: Model(
                model,
                plan=plan,
                accounts=Accounts(model.name, draws=settings.draws, metrics=metrics, log=log),
                log=log,
            )
            for model in plan.models
        }
        routes = [*Inference(models, answer_s=settings.limits.answer_s).routes(), *Control(models, metrics).routes()]
        door = Door(Router(routes), settings.limits, token=read_token(settings.access.token_file), log=log)
        async with await _listen(door, settings) as listener:
            for model in models.values():
                model.start()
            _announce(listener, models, log)
            await _until_told()
            listener.close()
            log("leaving")
            await door.close(within_s=settings.limits.answer_s)
            for model in models.values():
                await model.close()


def read_token(file: str | None) -> bytes | None:
    """Return the token that requests must bear.

    Raises:
        ConfigError: others can read the file, or the token is short.
    """
    if file is None:
        return None
    path = Path(file)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"serve.access.token_file={file!r} can be read by others. `chmod 600 {file}`.")
    token = path.read_bytes().strip()
    if len(token) < _LEAST_TOKEN_BYTES:
        raise ConfigError(
            f"serve.access.token_file={file!r} holds {len(token)} bytes; {_LEAST_TOKEN_BYTES} are the least.\n"
            f"`(umask 077; openssl rand -hex 32 > {file})` writes a good one."
        )
    return token


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


async def _listen(door: Door, settings: ServeConfig) -> asyncio.Server:
    try:
        return await asyncio.start_server(door.connection, settings.host, settings.port, backlog=1024)
    except OSError as error:
        raise OverwinterError(
            f"Nothing can listen on {settings.host}:{settings.port}: {os.strerror(error.errno or 0)}.\n"
            "Name another serve.port (0 takes any free one), or end the program that holds this one."
        ) from None


def _announce(listener: asyncio.Server, models: dict[str, Model], log: JsonLog) -> None:
    host, port = listener.sockets[0].getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log("serving", address=address, models=list(models))
    print(f"{', '.join(models)}: {address}", flush=True)


async def _until_told() -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
