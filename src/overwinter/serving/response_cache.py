"""Answers given before, on disk: an equal request gets an equal response without waking the model.

One file per response, named by the digest of what was asked of which bundle; its own digest is inside, so that a file
that was cut short or altered is no response. The least recently used go first.
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
    """The answers of one bundle.

    Args:
        folder: made if need be.
        bundle: digest of the bundle that gave them; those of another are not found.
        max_bytes: of all files together.
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
        """Return what was answered to an equal call; None if nothing was, or it cannot be read any more."""
        name = self._name(call)
        if name not in self._sizes:
            return None
        reply = _read(self._folder / name)
        if reply is None:
            self._drop(name)
        else:
            self._sizes.move_to_end(name)
            with contextlib.suppress(OSError):  # a disk that has become read-only forgets the order, no response
                os.utime(self._folder / name)
        return reply

    def add(self, call: Call, reply: Reply) -> None:
        """Keep a response, if it is a right one and whole."""
        if reply.status != 200 or not isinstance(reply.body, bytes):
            return
        content = json.dumps({"status": reply.status, "headers": dict(reply.headers)}).encode() + b"\n" + reply.body
        name = self._name(call)
        if len(content) + _DIGEST_BYTES > self._max_bytes:
            return
        staging = self._folder / f".{name}"
        try:  # not flushed to the disk: its digest detects a file that a power cut has cut short
            staging.write_bytes(hashlib.sha256(content).digest() + content)
            staging.chmod(0o600)
            staging.replace(self._folder / name)
        except OSError:  # a full disk keeps no response, and takes none away
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
