"""A process that writes responses on request, and says what each cost: what contenders in separate processes share.

It uses the standard library only, since the peers' own Pythons run it too. One line of JSON asks for a response,
``{"prompt": [tokens], "written": 32}``, one line tells what it was and what it cost.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

Respond = Callable[[list[int], int], list[int]]
"""Reads a prompt's tokens anew, and returns as many written ones as it is asked for, greedily, whatever they are."""


def answer(respond: Respond) -> None:
    """Respond to every line on the standard input until it ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no reply
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        begun, worked = time.perf_counter(), time.process_time()
        written = respond(asked["prompt"], asked["written"])
        cost = {"cpu_s": time.process_time() - worked, "wall_s": time.perf_counter() - begun}
        replies.write(json.dumps({"written": written, **cost, **_memory()}) + "\n")
        replies.flush()


def _memory() -> dict[str, int]:
    """Return the resident memory now and at most, and what of it is no mapped file."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    names = {"resident_bytes": "VmRSS", "peak_bytes": "VmHWM", "anonymous_bytes": "RssAnon"}
    return {name: 1024 * int(lines[key].split()[0]) for name, key in names.items()}
