"""Events of a running stage for `overwinter run`: one JSON object per line, appended to the file it names.

Without a reader, nothing is written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EVENTS_FILE = "OVERWINTER_EVENTS"


def emit(kind: str, stage: str, **details: Any) -> None:
    """Append an event: `start`, `restored` (a finished result was kept, nothing runs), `progress`, `say` or `end`."""
    path = os.environ.get(EVENTS_FILE)
    if not path:
        return
    line = json.dumps({"event": kind, "stage": stage, "time_s": time.time(), **details})
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError:
        pass  # the reader may be gone, or the disk full; the work must continue


class EventReader:
    """Reads events from a file as they are appended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events appended since the last call."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._position)
                content = stream.read()
        except FileNotFoundError:
            return
        whole, _, _ = content.rpartition(b"\n")
        self._position += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
