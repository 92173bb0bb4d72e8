"""Deferred requests and their responses on disk: one file each, 0600, written atomically.

A file is one line of JSON and the body, whose length and digest are in the line. The folder is read once, at the start.
A damaged file is quarantined, and its client gets an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.serving.bounded_json import shown
from overwinter.serving.messages import Reply, Request, RequestError
from overwinter.serving.metrics import Log

_MODE = 0o600
_ID = re.compile(r"[0-9a-f]{32}")
_HEADERS = ("content-type", "inference-header-content-length")  # the others concern the connection, or are secret
_REQUEST, _REPLY = "request", "reply"
_COMMON: dict[str, type | tuple[type, ...]] = {"headers": dict, "body_bytes": int, "sha256": str}
_FIELDS = {
    _REQUEST: _COMMON | {"deadline_s": (int, float), "method": str, "path": str},
    _REPLY: _COMMON | {"status": int},
}
_MAX_HEAD = 1 << 16
_QUARANTINE = "damaged"
_RESERVED_BYTES = 1 << 16  # reserved for the response of every waiting request


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A request on disk.

    Attributes:
        id: The request's name.
        deadline_s: The deadline, in seconds since 1970.
        size_bytes: The size of its body.
    """

    id: str
    deadline_s: float
    size_bytes: int


@dataclass(kw_only=True)
class _Response:
    size_bytes: int
    since_s: float
    fetched: bool = False


class DeferredStore:
    """A folder of deferred requests and responses, used by one server only.

    Args:
        folder: The folder; created if missing.
        max_bytes: The maximum size of all bodies together; a waiting request counts 64 KiB more, for its response.
        retention_s: The time for which a response is kept.
        log: Receives quarantined files.
    """

    def __init__(self, folder: Path, *, max_bytes: int, retention_s: float, log: Log) -> None:
        self._folder, self._max_bytes, self._retention_s, self._log = folder, max_bytes, retention_s, log
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._waiting: dict[str, Waiting] = {}
        self._responses: OrderedDict[str, _Response] = OrderedDict()  # the oldest first
        self._bytes = 0
        self._read_folder()

    def __len__(self) -> int:
        """Return the number of requests and responses."""
        return len(self._waiting) + len(self._responses)

    def waiting(self) -> list[Waiting]:
        """Return the requests without a response."""
        return list(self._waiting.values())

    def waits(self, name: str) -> bool:
        """Return whether the request of this name has no response yet."""
        return name in self._waiting

    def could_hold(self, size_bytes: int) -> bool:
        """Return whether a request with a body of this size fits in an empty store."""
        return size_bytes + _RESERVED_BYTES <= self._max_bytes

    def make_room(self, size_bytes: int, *, most: int) -> bool:
        """Return whether another request fits, after fetched responses are removed if necessary.

        Args:
            size_bytes: The size of its body.
            most: The maximum number of requests and responses.
        """
        self.drop_old()
        needed_bytes = size_bytes + _RESERVED_BYTES
        fetched = [name for name, respond in self._responses.items() if respond.fetched]
        while len(self) >= most or self._bytes + needed_bytes > self._max_bytes:
            if not fetched:
                return False
            self.remove(fetched.pop(0))
        return True

    def add(self, request: Request, deadline_s: float) -> Waiting:
        """Store a request; it is on disk when this returns.

        Raises:
            OverwinterError: The file cannot be written.
        """
        kept = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        waiting = Waiting(id=uuid.uuid4().hex, deadline_s=deadline_s, size_bytes=len(request.body))
        head = {"deadline_s": deadline_s, "method": request.method, "path": request.path, "headers": kept}
        _write(self._path(waiting.id, _REQUEST), head, request.body)
        self._admit(waiting)
        return waiting

    def request(self, name: str) -> Request:
        """Return a request as it was received, without the headers that defer it.

        Raises:
            RequestError: 500, its file was damaged.
        """
        found = _read(self._path(name, _REQUEST))
        if found is None:
            raise _damaged()
        head, body = found
        return Request(method=head["method"], path=head["path"], headers=head["headers"], body=body)

    def respond(self, name: str, reply: Reply) -> None:
        """Store a response and remove its request. A response that does not fit is replaced by a 507.

        Raises:
            OverwinterError: The file cannot be written.
        """
        assert isinstance(reply.body, bytes)  # noqa: S101 -- the caller has gathered its parts
        waiting = self._waiting.get(name)
        freed_bytes = 0 if waiting is None else waiting.size_bytes + _RESERVED_BYTES
        if self._bytes - freed_bytes + len(reply.body) > self._max_bytes and len(reply.body) > _RESERVED_BYTES:
            reply = _no_room(len(reply.body))
        assert isinstance(reply.body, bytes)  # noqa: S101 -- the body is bytes, see above
        head = {"status": reply.status, "headers": dict(reply.headers)}
        _write(self._path(name, _REPLY), head, reply.body)
        self._forget_request(name)
        self._keep_response(name, len(reply.body), time.time())

    def fetch(self, name: str) -> Reply | None:
        """Return a response; None if it does not exist or has expired."""
        self.drop_old()
        if name not in self._responses:
            return None
        found = _read(self._path(name, _REPLY))
        if found is None:
            return _damaged().reply()
        self._responses[name].fetched = True
        head, body = found
        return Reply(status=head["status"], headers=head["headers"], body=body)

    def remove(self, name: str) -> bool:
        """Delete a request and its response; return whether there was one."""
        found = name in self._waiting or name in self._responses
        self._forget_request(name)
        self._forget_response(name)
        return found

    def drop_old(self) -> None:
        """Delete expired responses."""
        oldest_s = time.time() - self._retention_s
        while self._responses and next(iter(self._responses.values())).since_s < oldest_s:
            self._forget_response(next(iter(self._responses)))

    # Bookkeeping in memory.

    def _admit(self, waiting: Waiting) -> None:
        self._waiting[waiting.id] = waiting
        self._bytes += waiting.size_bytes + _RESERVED_BYTES

    def _keep_response(self, name: str, size_bytes: int, since_s: float) -> None:
        self._responses[name] = _Response(size_bytes=size_bytes, since_s=since_s)
        self._bytes += size_bytes

    def _forget_request(self, name: str) -> None:
        if (waiting := self._waiting.pop(name, None)) is not None:
            self._bytes -= waiting.size_bytes + _RESERVED_BYTES
            self._unlink(name, _REQUEST)

    def _forget_response(self, name: str) -> None:
        if (respond := self._responses.pop(name, None)) is not None:
            self._bytes -= respond.size_bytes
            self._unlink(name, _REPLY)

    # The folder.

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"

    def _unlink(self, name: str, kind: str) -> None:
        with contextlib.suppress(OSError):  # on a read-only disk, the file is removed at the next start
            self._path(name, kind).unlink(missing_ok=True)

    def _read_folder(self) -> None:
        """Read the folder; responses first, since a request with a response was only not removed yet."""
        for half_written in self._folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                half_written.unlink()
        replies = sorted((path.stat().st_mtime, path) for path in self._found(_REPLY))
        for since_s, path in replies:
            if (head := self._head(path)) is not None:
                self._keep_response(path.stem, head["body_bytes"], since_s)
        for path in self._found(_REQUEST):
            if path.stem in self._responses:
                self._unlink(path.stem, _REQUEST)
            elif (head := self._head(path)) is not None:
                self._admit(Waiting(id=path.stem, deadline_s=head["deadline_s"], size_bytes=head["body_bytes"]))
            else:
                with contextlib.suppress(OverwinterError):
                    self.respond(path.stem, _damaged().reply())

    def _found(self, kind: str) -> list[Path]:
        found = sorted(self._folder.glob(f"*.{kind}"))
        return [path for path in found if _ID.fullmatch(path.stem) and path.is_file()]

    def _head(self, path: Path) -> Mapping[str, Any] | None:
        """Return the first line of a file; quarantine a file that is not valid."""
        try:
            with path.open("rb") as stream:
                line = stream.readline(_MAX_HEAD)
            head = _parsed(line, path.suffix[1:])
            if path.stat().st_size == len(line) + head["body_bytes"]:
                return head
            message = "it was cut short"
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            message = f"{type(error).__name__}: {error}"
        self._quarantine(path, message)
        return None

    def _quarantine(self, path: Path, message: str) -> None:
        quarantined = self._folder / _QUARANTINE
        with contextlib.suppress(OSError):
            quarantined.mkdir(exist_ok=True, mode=0o700)
            path.rename(quarantined / path.name)
        self._log("quarantined", file=str(path), message=f"not a valid deferred {path.suffix[1:]}: {message[:200]}")


def _write(path: Path, head: Mapping[str, Any], body: bytes) -> None:
    line = json.dumps({**head, "body_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
    with files.replacing(path, _MODE) as quarantined, quarantined.open("wb") as stream:
        stream.write(line.encode() + b"\n")
        stream.write(body)


def _read(path: Path) -> tuple[Mapping[str, Any], bytes] | None:
    """Return the first line and the body of a file; None if it was damaged since the start."""
    try:
        with path.open("rb") as stream:
            head, body = _parsed(stream.readline(_MAX_HEAD), path.suffix[1:]), stream.read()
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return (head, body) if hashlib.sha256(body).hexdigest() == head["sha256"] else None


def _parsed(line: bytes, kind: str) -> Mapping[str, Any]:
    """Return the first line of a file, parsed.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: The line is not valid.
    """
    head: Mapping[str, Any] = json.loads(line)
    for key, expected in _FIELDS[kind].items():
        if not isinstance(head[key], expected):
            raise TypeError(f"{key} is {shown(head[key])}")
    return head


def _damaged() -> RequestError:
    return RequestError(500, "This deferred request was damaged on the server's disk. Send it again.")


def _no_room(size_bytes: int) -> Reply:
    message = (
        f"The response of {size_bytes} bytes does not fit (serve.deferral.bytes). Fetch or delete others, then retry."
    )
    return RequestError(507, message).reply()
