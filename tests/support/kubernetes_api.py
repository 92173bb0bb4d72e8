"""A stand-in for the Jobs of a Kubernetes API server, on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass
class FakeCluster:
    """What the server has and was asked.

    Attributes:
        address: Its address, as that of `kubectl proxy`.
        jobs: Its Jobs by name.
        cron_jobs: Its CronJobs by name.
        date: The header Date of its answers.
        status: The status of its answers, if it refuses.
        tokens: The header Authorization of each request.
    """

    address: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cron_jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    date: str | None = None
    status: int = 200
    tokens: list[str | None] = field(default_factory=list)

    def listed(self, selector: str) -> list[dict[str, Any]]:
        """Return the Jobs that a label selector selects."""
        wanted = dict(part.split("=") for part in selector.split(","))
        labels = {name: job["metadata"].get("labels", {}) for name, job in self.jobs.items()}
        return [job for name, job in self.jobs.items() if wanted.items() <= labels[name].items()]


@pytest.fixture
def fake_cluster() -> Iterator[FakeCluster]:
    """A server that answers as the API of batch/v1 does in the namespace `work`."""
    cluster = FakeCluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    cluster.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield cluster
    server.shutdown()
    thread.join()
    server.server_close()


def _handler(cluster: FakeCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self._answer({"items": cluster.listed(query["labelSelector"][0])})

        def do_PATCH(self) -> None:
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kind, name = urlsplit(self.path).path.split("/")[-2:]
            there = {"jobs": cluster.jobs, "cronjobs": cluster.cron_jobs}[kind]
            if cluster.status == 200 and name in there:
                there[name]["spec"] |= patch["spec"]
            self._answer({}, missing=name not in there)

        def _answer(self, content: dict[str, Any], *, missing: bool = False) -> None:
            cluster.tokens.append(self.headers["Authorization"])
            assert urlsplit(self.path).path.startswith("/apis/batch/v1/namespaces/work/")
            self.send_response_only(404 if missing else cluster.status)
            self.send_header("Date", cluster.date or self.date_time_string())
            body = json.dumps(content).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's signature
            del format, args

    return Handler
