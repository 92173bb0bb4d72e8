"""A lock on the folder `serve.state`: two servers would run the same deferred requests."""

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
    """Lock the folder until the block or the process ends.

    Args:
        state: The folder; created if missing; None: nothing is locked.

    Raises:
        OverwinterError: Another server has locked the folder, or it cannot be locked.
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
        with contextlib.suppress(OSError):  # a full disk: the process id is only informative
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
            f"serve.state={state!r} is used by another server (process {holder or 'unknown'}): both would run the "
            "same deferred requests.\nStop that server first, or name another folder."
        ) from None
    except OSError as error:
        raise OverwinterError(
            f"serve.state={state!r} cannot be locked: {error.strerror}. Name a folder on a file system with locks."
        ) from None
