"""SIGINT and SIGTERM, for work that ends what it runs before it ends itself."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextlib.contextmanager
def interrupts_handled(handle: Callable[[], None]) -> Iterator[None]:
    """Call ``handle`` at each SIGINT and SIGTERM inside the context; only the main thread may enter it."""
    with _taken(lambda _: handle(), _NUMBERS):
        yield


@contextlib.contextmanager
def ignored(*numbers: int) -> Iterator[None]:
    """Ignore signals inside the context, as do programs that it starts; only the main thread may enter it."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def restore_termination() -> None:
    """Let SIGTERM end this process and its children again, if whoever started it made them ignore it."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def default_interrupts_handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Call ``handle`` with the number of each SIGINT and SIGTERM that the program itself does not handle.

    Only the main thread may enter it.
    """
    with _taken(handle, [number for number in _NUMBERS if _in_effect(signal.getsignal(number)) in _DEFAULTS]):
        yield


class _Taken:
    """The handler of one signal, which after its context and in forked children does what the previous handler does.

    A library that installs its own handler inside the context may put this one back long after the context has ended.
    A forked child inherits it, and would survive the signal by which its pool ends it.
    """

    def __init__(self, number: int, handle: Callable[[int], None]) -> None:
        self.previous: Any = _in_effect(signal.getsignal(number))
        self.ended = False
        self._handle, self._pid = handle, os.getpid()
        signal.signal(number, self.received)

    def received(self, number: int, frame: Any) -> None:
        """Handle the signal."""
        if not self.ended and os.getpid() == self._pid:
            self._handle(number)
        elif callable(self.previous):
            self.previous(number, frame)
        elif self.previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def give_back(self, number: int) -> None:
        """Install the previous handler, unless another one is installed by now."""
        self.ended = True
        if signal.getsignal(number) == self.received:
            signal.signal(number, self.previous)


def _in_effect(handler: Any) -> Any:
    """Return the handler that has an effect: behind one of ours whose context has ended, the previous one."""
    ours = getattr(handler, "__self__", None)
    return _in_effect(ours.previous) if isinstance(ours, _Taken) and ours.ended else handler


@contextlib.contextmanager
def _taken(handle: Callable[[int], None], numbers: Iterable[int]) -> Iterator[None]:
    taken = {number: _Taken(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in taken.items():
            handler.give_back(number)
