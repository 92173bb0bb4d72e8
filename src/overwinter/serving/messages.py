"""The types that the HTTP server, the protocol adapters and the models exchange.

A protocol adapter returns its `Route`s: it turns a `Request` into a `Call` of a model, and the worker's `Reply` is
returned unchanged. Anything that needs numpy or a tokenizer happens in the worker.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from overwinter.serving.streams import Stream

_GENERATING = "language@"  # begins the kind of a worker that generates text


def worker_kind(runtime: str, *, generates: bool) -> str:
    """Return the kind of a worker: its runtime's name, and whether it generates text."""
    return f"{_GENERATING if generates else ''}{runtime}"


def read_kind(kind: str) -> tuple[str, bool]:
    """Return the runtime of a kind of worker, and whether it generates text."""
    return kind.removeprefix(_GENERATING), kind.startswith(_GENERATING)


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request.

    Attributes:
        method: The method, such as `GET`.
        path: The path without the query.
        headers: The headers, names in lower case, repeated ones joined by commas. `x-request-id` is always present.
        body: The whole body.
        matched: The parts of the path that the route's pattern names.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    matched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP response: a status, headers, and a body, whole or streamed in parts."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = b""


@dataclass(frozen=True, kw_only=True)
class Call:
    """Work for a worker.

    Attributes:
        operation: The worker's operation, such as `infer`.
        headers: The request's headers that the operation needs.
        body: The request's body.
        deadline_s: The time limit for the response or its beginning, from now.
        idempotent: Whether the call is retried if its worker dies.
        repeatable: Whether equal calls have equal responses, which may be cached
            (`serve.persistence.response_cache_bytes`).
        model: The model's name for clients.
        if_broken: The end of a streamed response whose worker died.
    """

    operation: str
    headers: Mapping[str, str]
    body: bytes
    deadline_s: float
    idempotent: bool = True
    repeatable: bool = False
    model: str = ""
    if_broken: bytes = b""


Handler = Callable[[Request], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """A handler, and the requests that it handles.

    Attributes:
        method: The method, such as `POST`.
        pattern: The path; parts in braces match anything but a slash, as in `/v2/models/{model}/infer`.
        handler: Returns the reply.
        open_to_all: Whether it needs no token, as health checks.
        computes: Whether it runs a model, and can be deferred (`Overwinter-Deadline`).
        limit: The key of `serve.limits` with the maximum size of its body, in bytes.
    """

    method: str
    pattern: str
    handler: Handler
    open_to_all: bool = False
    computes: bool = False
    limit: str = "body_bytes"


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: The status of the reply.
        message: What is wrong, with which value, and what to do.
        retry_after_s: The delay before a retry; None: a retry is useless.
        headers: The headers that such a reply must carry.
        code: What is wrong, for programs, as OpenAI's clients know it, such as `context_length_exceeded`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after_s, self.headers, self.code = status, retry_after_s, headers or {}, code

    def reply(self) -> Reply:
        """Return the error as JSON, with Retry-After in whole seconds."""
        again = {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}
        content = {"error": str(self)} | ({} if self.code is None else {"code": self.code})
        return json_reply(content, status=self.status, headers={**self.headers, **again})


def json_reply(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with JSON."""
    body = json.dumps(content, allow_nan=False).encode()
    return Reply(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)
