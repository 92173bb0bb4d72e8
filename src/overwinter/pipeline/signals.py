"""SIGINT and SIGTERM, for the programs that end what they run before they end themselves."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator

_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextlib.contextmanager
def interrupts_handled(handle: Callable[[], None]) -> Iterator[None]:
    """Call ``handle`` at each SIGINT and SIGTERM inside the context; only the main thread may enter it."""
    with _replaced(lambda _: handle(), (signal.SIGINT, signal.SIGTERM)):
        yield


@contextlib.contextmanager
def default_interrupts_handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Call ``handle`` with the number of each SIGINT and SIGTERM that the program itself does not handle.

    Only the main thread may enter it.
    """
    free = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) in _DEFAULTS]
    with _replaced(handle, free):
        yield


@contextlib.contextmanager
def _replaced(handle: Callable[[int], None], numbers: Iterable[signal.Signals]) -> Iterator[None]:
    previous = {number: signal.signal(number, lambda got, _: handle(got)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
