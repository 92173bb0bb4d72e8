"""One folder of what outlives sleep (`serve.state`), one server: two would ask the same deferred requests."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from overwinter.errors import OverwinterError

_NAME = "lock"


@contextlib.contextmanager
def locked(state: str | None) -> Iterator[None]:
    """Hold the folder for this process, until the block or the process ends.

    Args:
        state: made if need be; None: there is nothing to hold.

    Raises:
        OverwinterError: another server holds it, or it cannot be locked.
    """
    if state is None:
        yield
        return
    try:
        Path(state).mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(Path(state) / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OverwinterError(
            f"serve.state={state!r} cannot be used: {error.strerror}. Name a folder that this user can write to."
        ) from None
    with os.fdopen(handle, "r+", encoding="utf-8", errors="replace") as stream:
        _lock(stream.fileno(), state, holder=stream.read(20).strip())
        with contextlib.suppress(OSError):  # a full disk: who holds it is reported for information only
            stream.seek(0)
            stream.write(f"{os.getpid()}\n")
            stream.truncate()
            stream.flush()
        yield


def _lock(handle: int, state: str, *, holder: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OverwinterError(
            f"serve.state={state!r} is held by another server (process {holder or 'unknown'}): both would answer the "
            "same deferred requests.\nLet that one leave first, or name another folder."
        ) from None
    except OSError as error:
        raise OverwinterError(
            f"serve.state={state!r} cannot be locked: {error.strerror}. Name a folder on a file system that has locks."
        ) from None
