"""A cache of responses on disk: an equal request gets an equal response without waking the model.

One file per response, named by the digest of the call and its bundle. The file contains its own digest, which detects
truncation and damage. The least recently used are removed first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import OrderedDict
from pathlib import Path

from overwinter.serving.messages import Call, Reply

_DIGEST_BYTES = 32
_NAME = re.compile(r"[0-9a-f]{64}")
KEPT = {"Overwinter-Response": "kept"}


class ResponseCache:
    """The cached responses of one bundle.

    Args:
        folder: The folder; created if missing.
        bundle: The digest of the bundle; responses of another are not found.
        max_bytes: The maximum size of all files together.
    """

    def __init__(self, folder: Path, *, bundle: str, max_bytes: int) -> None:
        self._folder, self._bundle, self._max_bytes = folder, bundle, max_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for half_written in folder.glob(".*"):
            with contextlib.suppress(OSError):
                half_written.unlink()
        ours = [entry for entry in os.scandir(folder) if _NAME.fullmatch(entry.name) and entry.is_file()]
        found = sorted((entry.stat().st_mtime, entry.name, entry.stat().st_size) for entry in ours)
        self._sizes = OrderedDict((name, size) for _, name, size in found)
        self._shrink()

    def find(self, call: Call) -> Reply | None:
        """Return the response to an equal call; None if there is none, or its file is not valid."""
        name = self._name(call)
        if name not in self._sizes:
            return None
        reply = _read(self._folder / name)
        if reply is None:
            self._drop(name)
        else:
            self._sizes.move_to_end(name)
            with contextlib.suppress(OSError):  # a read-only disk loses the order, but no response
                os.utime(self._folder / name)
        return reply

    def add(self, call: Call, reply: Reply) -> None:
        """Store a response, if it is successful and whole."""
        if reply.status != 200 or not isinstance(reply.body, bytes):
            return
        content = json.dumps({"status": reply.status, "headers": dict(reply.headers)}).encode() + b"\n" + reply.body
        name = self._name(call)
        if len(content) + _DIGEST_BYTES > self._max_bytes:
            return
        staging = self._folder / f".{name}"
        try:  # not flushed to disk: the digest detects a file that a power failure has truncated
            staging.write_bytes(hashlib.sha256(content).digest() + content)
            staging.chmod(0o600)
            staging.replace(self._folder / name)
        except OSError:  # on a full disk, the cache stays as it is
            with contextlib.suppress(OSError):
                staging.unlink(missing_ok=True)
            return
        self._sizes[name] = len(content) + _DIGEST_BYTES
        self._sizes.move_to_end(name)
        self._shrink()

    def _name(self, call: Call) -> str:
        asked = json.dumps([self._bundle, call.operation, call.model, sorted(call.headers.items())]).encode()
        return hashlib.sha256(asked + b"\n" + call.body).hexdigest()

    def _shrink(self) -> None:
        total_bytes = sum(self._sizes.values())
        while total_bytes > self._max_bytes:
            oldest = next(iter(self._sizes))
            total_bytes -= self._sizes[oldest]
            self._drop(oldest)

    def _drop(self, name: str) -> None:
        del self._sizes[name]
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)


def _read(path: Path) -> Reply | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    head, _, body = rest.partition(b"\n")
    header = json.loads(head)
    return Reply(status=header["status"], headers={**header["headers"], **KEPT}, body=body)
