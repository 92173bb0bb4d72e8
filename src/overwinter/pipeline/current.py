"""The work that this process supervises: at most one, since a second would count the same joules again."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.pipeline.supervised import Supervised

_lock = threading.Lock()
_current: list[tuple[int, Supervised]] = []  # with the process id: a forked child supervises nothing


def current_work() -> Supervised | None:
    """Return the work that this process supervises now."""
    with _lock:
        return next((work for pid, work in _current if pid == os.getpid()), None)


@contextlib.contextmanager
def alone(work: Supervised) -> Iterator[None]:
    """Make ``work`` the current work inside the context.

    Raises:
        ConfigError: this process already supervises other work.
    """
    entry = (os.getpid(), work)
    with _lock:
        _current[:] = [each for each in _current if each[0] == os.getpid()]
        if _current:
            raise ConfigError(
                f"{work.name} cannot be metered inside {_current[0][1].name}: its joules would count twice. "
                "For a part of it, use a window: run.window('name'), in a stage stage.meter.window('name')."
            )
        _current.append(entry)
    try:
        yield
    finally:
        with _lock:
            if entry in _current:
                _current.remove(entry)
