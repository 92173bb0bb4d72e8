"""Final records that did not get into the ledger: JSON lines beside it, taken up at the next opening."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def beside(ledger: Path) -> Path:
    """Return the file for records that ``ledger`` could not take."""
    return ledger.with_name(f"{ledger.name}.unrecorded.jsonl")


def keep(ledger: Path, row: Mapping[str, Any]) -> Path | None:
    """Append ``row`` as one JSON line beside the ledger, or to a file in the temporary folder.

    Returns:
        where it is kept, or None if it could be written nowhere.
    """
    line = json.dumps(dict(row), separators=(",", ":")).encode() + b"\n"
    for path in (beside(ledger), Path(tempfile.gettempdir()) / f"overwinter-{row['id']}.unrecorded.jsonl"):
        if _append(path, line):
            return path
    return None


@contextlib.contextmanager
def taking(ledger: Path) -> Iterator[list[dict[str, Any]]]:
    """Give the rows kept beside ``ledger``; when the block ends well, they are forgotten here.

    The rows' keys make it harmless to record them twice, should the process die before forgetting them. A
    line cut short by a full disk is left out.
    """
    try:
        handle = _open_locked(beside(ledger), os.O_RDWR)
    except OSError:
        yield []
        return
    with os.fdopen(handle, "rb") as stream:
        yield list(_parsed(stream.read().splitlines()))
        beside(ledger).unlink(missing_ok=True)


def _parsed(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _append(path: Path, line: bytes) -> bool:
    try:
        handle = _open_locked(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(handle, "ab", buffering=0) as stream:
            whole = stream.write(line) == len(line)
            os.fsync(stream.fileno())
    except OSError:
        return False
    return whole


def _open_locked(path: Path, flags: int) -> int:
    """Open ``path`` for this process alone; again, if another one took its content meanwhile."""
    while True:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_still_at(path, handle):
                return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)


def _is_still_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
