"""What passes between the HTTP door, the protocol adapters and the models.

A protocol adapter is a module with a function that returns its `Route`s: it turns a `Request` into a `Call` of
a model, and the worker's `Reply` goes back as it is. What needs numpy or a tokenizer happens in the worker.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from overwinter.serving.streams import Stream

LANGUAGE = "language"  # the kind of a worker that writes text; other kinds are named after their runtime


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asked.

    Attributes:
        method: such as `GET`.
        path: without the query.
        headers: names in lower case; those that came several times joined by commas. `x-request-id` is always there.
        body: all of it.
        matched: the parts of the path that the route's pattern names.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    matched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back: a status, headers, and a body, whole or in parts as they come."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = b""


@dataclass(frozen=True, kw_only=True)
class Call:
    """Work for a worker.

    Attributes:
        operation: which of the worker's operations, such as `infer`.
        headers: what the operation needs of the request's headers.
        body: of the request.
        deadline_s: how long the client may wait for a response, or for its beginning, from now.
        idempotent: asked again when a worker dies over it.
        repeatable: an equal call has an equal response, which may be kept (`serve.persistence.response_cache_bytes`).
        model: what the client calls the model.
        if_broken: ends a response whose worker died while it was written.
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
    """Which requests a handler answers.

    Attributes:
        method: such as `POST`.
        pattern: a path whose parts in braces match anything but a slash, such as `/v2/models/{model}/infer`.
        handler: gives the reply.
        open_to_all: health checks, which need no token.
        computes: it asks a model, which may be put off (`Overwinter-Deadline`).
        limit: the key of `serve.limits` that bounds its body, in bytes.
    """

    method: str
    pattern: str
    handler: Handler
    open_to_all: bool = False
    computes: bool = False
    limit: str = "body_bytes"


class RequestError(Exception):
    """A request that cannot be answered as it is.

    Args:
        status: of the reply.
        message: what is wrong, with which value, and what to do.
        retry_after_s: when to try again; None: it would be no use.
        headers: that such a reply must carry.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after_s, self.headers = status, retry_after_s, headers or {}

    def reply(self) -> Reply:
        """Return it as JSON, with Retry-After in whole seconds."""
        again = {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}
        return json_reply({"error": str(self)}, status=self.status, headers={**self.headers, **again})


def json_reply(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with JSON."""
    body = json.dumps(content, allow_nan=False).encode()
    return Reply(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)
