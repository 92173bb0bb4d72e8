"""One program at a time writes a stage's outputs; and DVC's own list of locks, when a kill cut it short."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overwinter.documents import MAX_LOCK_BYTES, check_yaml
from overwinter.errors import OverwinterError
from overwinter.files import write_error

_PATIENCE_S = 5.0  # a killed predecessor needs a moment to let go
_RETRY_S = 0.1


@contextlib.contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel lets go of it however the process ends.

    Raises:
        OverwinterError: another process holds it still after five seconds.
    """
    handle = _opened(path)
    try:
        _acquire(handle, path, what)
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def mend_dvc_locks(root: Path) -> bool:
    """Remove DVC's list of locks if it is cut short, and return whether it was.

    DVC rewrites ``.dvc/tmp/rwlock`` in place; killed at that moment it leaves half a list, and from then on every
    command of DVC refuses to start. A list that is cut short while no one holds the lock that guards it belongs to
    no one alive.

    Args:
        root: the folder with ``.dvc/``.
    """
    listed = root / ".dvc" / "tmp" / "rwlock"
    if _is_whole(listed):
        return False
    guard = os.open(listed.with_name("rwlock.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_whole(listed):
            return False
        listed.unlink()
    except BlockingIOError:
        return False  # DVC is writing it just now
    finally:
        os.close(guard)
    return True


def mend_dvc_lock_file(root: Path) -> bool:
    """Set ``dvc.lock`` aside as ``dvc.lock.broken`` if it is cut short, and return whether it was.

    DVC rewrites it in place; killed at that moment it leaves a file that it then refuses. Without one it compares
    nothing, but restores from its run cache what ran before.

    Args:
        root: the folder with ``dvc.lock``.
    """
    import yaml

    path = root / "dvc.lock"
    if not path.exists():
        return False
    text = path.read_bytes()
    check_yaml(text, where=str(path), max_bytes=MAX_LOCK_BYTES)
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- the C twin of SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if _is_whole_lock(content):
        return False
    path.replace(path.with_name("dvc.lock.broken"))
    return True


def _is_whole_lock(content: Any) -> bool:
    if not isinstance(content, dict) or "schema" not in content:
        return False
    stages = content.get("stages", {})
    return isinstance(stages, dict) and all(isinstance(each, dict) and "cmd" in each for each in stages.values())


def _is_whole(listed: Path) -> bool:
    try:
        json.loads(listed.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(path, error) from error


def _acquire(handle: int, path: Path, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = path.read_text(encoding="utf-8").strip() or "unknown"
                raise OverwinterError(f"{what} is being written by process {holder}. Wait for it, or end it.") from None
            time.sleep(_RETRY_S)
        else:
            return
