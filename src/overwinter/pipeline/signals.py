"""SIGINT and SIGTERM, for the programs that end what they run before they end themselves."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interrupts_handled(handle: Callable[[], None]) -> Iterator[None]:
    """Call ``handle`` at each SIGINT and SIGTERM inside the context; only the main thread may enter it."""
    previous = {number: signal.signal(number, lambda *_: handle()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
