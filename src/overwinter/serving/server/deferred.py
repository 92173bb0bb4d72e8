"""Deferred requests and their answers on disk: one file each, 0600, whole or absent."""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import IntegrityError
from overwinter.serving.server.messages import Reply, Request

_MODE = 0o600
_ID = re.compile(r"[0-9a-f]{32}")
_HEADERS = ("content-type", "inference-header-content-length")  # the others concern the connection, or are secret


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A request on disk.

    Attributes:
        id: its name.
        request: as it came, without what says that it can wait.
        deadline_s: seconds since 1970.
    """

    id: str
    request: Request
    deadline_s: float


class DeferredStore:
    """A folder of them.

    Args:
        folder: made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, request: Request, deadline_s: float) -> Waiting:
        """Write a request down; it is on the disk when this returns."""
        kept = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        plain = Request(method=request.method, path=request.path, headers=kept, body=request.body)
        waiting = Waiting(id=uuid.uuid4().hex, request=plain, deadline_s=deadline_s)
        content = {
            "deadline_s": deadline_s,
            "method": plain.method,
            "path": plain.path,
            "headers": kept,
            "body": _to_text(plain.body),
        }
        files.write_json(self._request(waiting.id), content, _MODE)
        return waiting

    def waiting(self) -> Iterator[Waiting]:
        """Yield the requests without an answer."""
        for path in sorted(self._folder.glob("*.request.json")):
            name = path.name.partition(".")[0]
            content = _read(path)
            if content is not None and not self._reply(name).exists():
                request = Request(
                    method=content["method"],
                    path=content["path"],
                    headers=content["headers"],
                    body=_from_text(content["body"]),
                )
                yield Waiting(id=name, request=request, deadline_s=content["deadline_s"])

    def answer(self, name: str, reply: Reply) -> None:
        """Write an answer down; its request is no longer needed."""
        assert isinstance(reply.body, bytes)  # noqa: S101 -- the caller has gathered its parts
        content = {"status": reply.status, "headers": dict(reply.headers), "body": _to_text(reply.body)}
        files.write_json(self._reply(name), content, _MODE)
        self._request(name).unlink(missing_ok=True)

    def fetch(self, name: str) -> Reply | None:
        """Return an answer; None if there is none."""
        content = _read(self._reply(name)) if _ID.fullmatch(name) else None
        if content is None:
            return None
        return Reply(status=content["status"], headers=content["headers"], body=_from_text(content["body"]))

    def remove(self, name: str) -> bool:
        """Forget a request and its answer; return whether there was one."""
        found = [path for path in (self._request(name), self._reply(name)) if _ID.fullmatch(name) and path.exists()]
        for path in found:
            path.unlink()
        return bool(found)

    def drop_old(self, kept_s: float) -> None:
        """Forget answers that are older than that."""
        for path in self._folder.glob("*.reply.json"):
            if path.stat().st_mtime < time.time() - kept_s:
                path.unlink()

    def _request(self, name: str) -> Path:
        return self._folder / f"{name}.request.json"

    def _reply(self, name: str) -> Path:
        return self._folder / f"{name}.reply.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return a file's content; None where there is none, or one that was not written here."""
    try:
        content = files.read_json(path, remedy="")
    except IntegrityError:
        return None
    return content if isinstance(content, dict) else None


def _to_text(body: bytes) -> str:
    return base64.b64encode(body).decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text)
