"""The lock on a stage's outputs, and repair of DVC's own lock files after a kill truncated them."""

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

_PATIENCE_S = 5.0  # a killed process needs a moment to release the lock
_RETRY_S = 0.1


@contextlib.contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel releases it however the process ends.

    Raises:
        OverwinterError: another process still holds it after five seconds.
    """
    handle = _opened(path)
    try:
        _acquire(handle, path, what)
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def repair_dvc_rwlock(root: Path) -> bool:
    """Remove DVC's list of locks if it is truncated, and return whether it was.

    DVC rewrites ``.dvc/tmp/rwlock`` in place. If it is killed at that moment, the file is truncated and every DVC
    command refuses to start. A truncated list is stale if no process holds the lock that guards it.

    Args:
        root: The folder with ``.dvc/``.
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
        return False  # DVC is writing it now
    finally:
        os.close(guard)
    return True


def repair_dvc_lock(root: Path) -> bool:
    """Rename a truncated ``dvc.lock`` to ``dvc.lock.broken``, and return whether it was truncated.

    DVC rewrites the file in place, and refuses it if it was killed at that moment. Without a ``dvc.lock``, DVC
    restores earlier results from its run cache.

    Args:
        root: The folder with ``dvc.lock``.
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
                raise OverwinterError(f"{what} is locked by process {holder}. Wait for it, or stop it.") from None
            time.sleep(_RETRY_S)
        else:
            return
