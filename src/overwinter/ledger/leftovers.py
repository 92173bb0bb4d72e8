"""Final records that could not be written to the ledger: JSON lines in a file next to it, read at the next opening."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def leftovers_path(ledger: Path) -> Path:
    """Return the file for records that could not be written to ``ledger``."""
    return ledger.with_name(f"{ledger.name}.unrecorded.jsonl")


def keep(ledger: Path, row: Mapping[str, Any]) -> Path | None:
    """Append ``row`` as one JSON line to the file next to the ledger, or to a file in the temporary folder.

    Returns:
        The file, or None if none could be written.
    """
    line = json.dumps(dict(row), separators=(",", ":")).encode() + b"\n"
    for path in (leftovers_path(ledger), Path(tempfile.gettempdir()) / f"overwinter-{row['id']}.unrecorded.jsonl"):
        if _append(path, line):
            return path
    return None


@contextlib.contextmanager
def taking(ledger: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows saved next to ``ledger``, and delete them if the block succeeds.

    The rows' keys make it harmless to record them twice, if the process dies before deleting them. A line truncated by
    a full disk is left out.
    """
    try:
        handle = _open_locked(leftovers_path(ledger), os.O_RDWR)
    except OSError:
        yield []
        return
    with os.fdopen(handle, "rb") as stream:
        yield list(_parsed(stream.read().splitlines()))
        leftovers_path(ledger).unlink(missing_ok=True)


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
    """Open and lock ``path``, and open it again if another process replaced it in the meantime."""
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
