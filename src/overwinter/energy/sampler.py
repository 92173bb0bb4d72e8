"""The thread of a meter, which samples power and reads counters before they wrap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_STOP_PATIENCE_S = 2.0


class Sampler:
    """Calls ``tick`` every ``interval_s`` until stopped, or after as many seconds as it returned."""

    def __init__(self, tick: Callable[[], float | None], interval_s: float) -> None:
        self._tick, self._interval_s = tick, interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="overwinter-energy", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Stop the thread, without waiting for a tick that hangs in a driver."""
        self._stopped.set()
        self._thread.join(timeout=_STOP_PATIENCE_S)

    def _run(self) -> None:
        due_s = time.monotonic() + self._interval_s
        while not self._stopped.wait(max(0.0, due_s - time.monotonic())):
            pause_s = self._tick()
            due_s = max(due_s + self._interval_s, time.monotonic() + (pause_s or 0.0))
