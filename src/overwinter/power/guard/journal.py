"""The folder of one setting of one device: its holders, and the commands that restore it.

    <state>/<key>/mutex             locked briefly by every process that reads or changes the rest
    <state>/<key>/journal.json      the previous value, and the commands that restore it; written before changes
    <state>/<key>/<id>.holder       one per run: an advisory lock that lives as long as its process
    <state>/<key>/<id>.json         process, command and requested value of that run

A run is alive as long as its lock is taken: the kernel releases it however the process ends, and, unlike a process id,
it means the same in every container that shares the folder. Standard library only, since the watchdog uses this
module too.
"""

# ruff: noqa: PTH108, PTH118, PTH123 -- pathlib doubles the watchdog's start

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_MUTEX_TIMEOUT_S = 5.0
_RETRY_S = 0.01


class Slot:
    """One setting of one device.

    Args:
        folder: folder of this setting, such as ``/run/overwinter/power/gpu-0000:01:00.0.power``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.journal_path = os.path.join(folder, "journal.json")

    @contextlib.contextmanager
    def mutex(self) -> Iterator[None]:
        """Lock the slot briefly against other processes.

        Raises:
            TimeoutError: another process keeps the lock for too long.
        """
        handle = os.open(os.path.join(self.folder, "mutex"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle, self.folder)
            yield
        finally:
            os.close(handle)

    def hold(self, identity: str) -> int:
        """Add this run as a holder, and return a descriptor that holds its lock while open."""
        handle = os.open(self._path(identity, "holder"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle

    def leave(self, identity: str) -> None:
        """Remove a holder."""
        for suffix in ("json", "holder"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(identity, suffix))

    def claim_path(self, identity: str) -> str:
        """Return the path of a holder's claim."""
        return self._path(identity, "json")

    def living(self, but: str = "") -> list[dict[str, Any]]:
        """Return the claims of the living holders, and remove the dead ones."""
        claims = []
        for name in sorted(os.listdir(self.folder)):
            identity, _, suffix = name.rpartition(".")
            if suffix != "holder" or identity == but:
                continue
            if self._is_dead(identity):
                self.leave(identity)
            else:
                claims.append(read_json(self._path(identity, "json")) or {})
        return claims

    def journal(self) -> dict[str, Any] | None:
        """Return the journal, or None if it is missing or unreadable."""
        return read_json(self.journal_path)

    def forget(self) -> None:
        """Remove the journal; there is nothing to restore."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.journal_path)

    def restore(self, perform: Callable[[dict[str, Any]], str | None]) -> list[str]:
        """Run the journal's commands, and remove it; the caller holds the mutex.

        Returns:
            Notes about settings that were not restored, or about a journal from before a reboot.

        Raises:
            OSError: a command failed, after all others were run; the journal stays, so that another process can retry.
        """
        journal = self.journal()
        if journal is None:
            self.forget()
            return []
        if journal.get("boot_id") != boot_id():
            self.forget()
            return [f"{journal.get('device')}: dropped its journal, which is from before the last reboot"]
        notes: list[str | None] = []
        failure: OSError | None = None
        for command in journal["commands"]:
            try:
                notes.append(perform(command))
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure
        self.forget()
        return [note for note in notes if note]

    def _is_dead(self, identity: str) -> bool:
        try:
            handle = os.open(self._path(identity, "holder"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def _path(self, identity: str, suffix: str) -> str:
        return os.path.join(self.folder, f"{identity}.{suffix}")


def boot_id() -> str:
    """Return the id of this boot of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return "unknown"


def read_json(path: str) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if it is missing or unreadable."""
    try:
        with open(path) as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _lock(handle: int, folder: str) -> None:
    deadline_s = time.monotonic() + _MUTEX_TIMEOUT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{folder} has been locked for more than {_MUTEX_TIMEOUT_S:g} s") from None
            time.sleep(_RETRY_S)
        else:
            return
