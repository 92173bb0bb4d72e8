"""Endpoints for `overwinter status`, `sleep` and `wake`, and for Prometheus. No call keeps a model awake."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from overwinter.errors import ConfigError
from overwinter.serving.messages import Reply, Request, RequestError, Route, json_reply
from overwinter.serving.metrics import Metrics
from overwinter.serving.model import Model
from overwinter.serving.replica import WakeRefused
from overwinter.serving.worker.worker_process import WorkerDied


class Control:
    """The status, metrics and sleep-level endpoints.

    Args:
        models: The models by name.
        metrics: The server's metrics.
        deferred: Returns the number of deferred requests.
    """

    def __init__(self, models: Mapping[str, Model], metrics: Metrics, *, deferred: Callable[[], int]) -> None:
        self._models, self._metrics, self._deferred = models, metrics, deferred
        metrics.deferred.set_function(deferred)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(method="GET", pattern="/metrics", handler=self._show_metrics),
            Route(method="GET", pattern="/overwinter/status", handler=self._status),
            Route(method="POST", pattern="/overwinter/models/{model}/level", handler=self._order, limit="header_bytes"),
        ]

    async def _show_metrics(self, _request: Request) -> Reply:
        content = generate_latest(self._metrics.registry)
        return Reply(headers={"Content-Type": CONTENT_TYPE_LATEST}, body=content)

    async def _status(self, _request: Request) -> Reply:
        models = {name: model.status() for name, model in self._models.items()}
        return json_reply({"supervisor": _own_use(), "deferred": self._deferred(), "models": models})

    async def _order(self, request: Request) -> Reply:
        """Move a model to a sleep level: `{"level": "off"}`."""
        model = self._models.get(request.matched["model"])
        if model is None:
            raise RequestError(404, f"No such model. Available: {', '.join(self._models)}.")
        try:
            await model.order(_level(request.body))
        except ConfigError as error:
            raise RequestError(400, str(error)) from None
        except (WakeRefused, WorkerDied) as error:
            raise RequestError(503, str(error)) from None
        return json_reply({"state": model.state})


def _level(body: bytes) -> str:
    try:
        return str(json.loads(body)["level"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RequestError(400, 'The body must be JSON such as {"level": "off"}.') from None


def _own_use() -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "pid": os.getpid(),
        "resident_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "cpu_s": usage.ru_utime + usage.ru_stime,
    }
