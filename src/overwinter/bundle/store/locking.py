"""One process at a time: a lock beside what is changed, that goes when the change is done."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Keep other processes from changing the same thing at the same time; nothing is left behind.

    The file goes with anyone who holds the lock. Who waited for it then holds one that no one else will find, and tries
    again with the file that is there.
    """
    path = target.with_name(f"{target.name}.lock")
    while True:
        with path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(path, lock.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
