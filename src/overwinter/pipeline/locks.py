"""The locks on a stage's outputs and on its work, and repair of DVC's own lock files after a kill truncated them.

The lock on outputs belongs to one tree: DVC's temporary copies of a project have outputs of their own. The lock on the
work of one configuration is shared by all trees, since its checkpoints and its finished result are.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from overwinter.documents import MAX_LOCK_BYTES, check_yaml
from overwinter.errors import OverwinterError
from overwinter.files import write_error

_PATIENCE_S = 5.0  # a killed process needs a moment to release the lock
_RETRY_S = 0.1
_SILENT_S = 1.0  # shorter waits are not worth a message


class LockedError(OverwinterError):
    """A lock that another process holds.

    Attributes:
        holder: The id of that process; `unknown` if it is not known.
    """

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"{what} is locked by process {holder}. Wait for it, or stop it.")
        self.holder = holder


@contextlib.contextmanager
def locked(path: Path, *, what: str) -> Iterator[int]:
    """Hold the lock file ``path``, and yield its descriptor; the kernel releases it however the process ends.

    Raises:
        LockedError: another process still holds it after five seconds.
        OverwinterError: the file cannot be written.
    """
    handle = _opened(path)
    try:
        _acquire(handle, path, what)
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked_in_turn(path: Path, *, on_wait: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock file ``path``, after whoever holds it now; yield whether that took a wait.

    The file is removed at the end, so that the folder does not grow with every configuration.

    Args:
        path: The lock file.
        on_wait: A function called once with the holder's process id when the wait takes longer than a second.
    """
    handle, waited = _in_turn(path, on_wait)
    try:
        os.write(handle, f"{os.getpid()}\n".encode())
        yield waited
    finally:
        path.unlink(missing_ok=True)  # while the lock is held: who waits for it looks again
        os.close(handle)


@contextlib.contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path`` if no other process holds it, and yield whether it is held."""
    handle = _opened(path)
    try:
        held = _try(handle) and _is_at(path, handle)
        yield held
        if held:
            path.unlink(missing_ok=True)
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
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)  # it is truncated
    except OSError as error:
        raise write_error(path, error) from error


def _acquire(handle: int, path: Path, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _try(handle):
        if time.monotonic() > deadline:
            raise LockedError(what, _holder(path))
        time.sleep(_RETRY_S)


def _in_turn(path: Path, on_wait: Callable[[str], None]) -> tuple[int, bool]:
    """Return a handle that holds the lock of the file that is at ``path``, and whether that took a wait."""
    began_s, waited, reported = time.monotonic(), False, False
    while True:
        handle = _opened(path)
        try:
            if _try(handle) and _is_at(path, handle):
                os.ftruncate(handle, 0)
                return handle, waited
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        waited = True
        if not reported and time.monotonic() - began_s >= _SILENT_S:
            reported = True
            on_wait(_holder(path))
        time.sleep(_RETRY_S)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, handle: int) -> bool:
    """Return whether the locked file is still at ``path``: its last holder removes it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"
