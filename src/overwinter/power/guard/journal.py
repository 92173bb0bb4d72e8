"""The folder of one setting of one device: who holds it, and what puts it back.

    <state>/<key>/mutex             held for moments, by anyone who reads or changes the rest
    <state>/<key>/journal.json      the previous value, and the commands that restore it; comes before changes
    <state>/<key>/<id>.holder       one per run: an advisory lock that lives as long as its process
    <state>/<key>/<id>.json         what that run is and which value it wants

A run is alive as long as its lock cannot be taken: the kernel lets go of it however the process ends, and,
unlike a process id, it means the same in every container that shares the folder. Standard library only: the
watchdog uses this module too.
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

_MUTEX_PATIENCE_S = 5.0
_RETRY_S = 0.01


class Slot:
    """One setting of one device.

    Args:
        folder: of this setting, such as ``/run/overwinter/power/gpu-0000:01:00.0.power``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.journal_path = os.path.join(folder, "journal.json")

    @contextlib.contextmanager
    def mutex(self) -> Iterator[None]:
        """Keep everyone else out for a moment.

        Raises:
            TimeoutError: someone stays in it for longer than anybody should.
        """
        handle = os.open(os.path.join(self.folder, "mutex"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle, self.folder)
            yield
        finally:
            os.close(handle)

    def hold(self, identity: str) -> int:
        """Become a holder; return the handle that holds the lock for as long as it is open."""
        handle = os.open(self._path(identity, "holder"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle

    def leave(self, identity: str) -> None:
        """Stop being a holder."""
        for suffix in ("json", "holder"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(identity, suffix))

    def claim_path(self, identity: str) -> str:
        """Return the file in which a holder says what it wants."""
        return self._path(identity, "json")

    def living(self, but: str = "") -> list[dict[str, Any]]:
        """Return what the living holders want, in order of their age, and forget the dead ones."""
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
        """Return what the journal holds, if there is one that can be read."""
        return read_json(self.journal_path)

    def forget(self) -> None:
        """Remove the journal: everything is as it was."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.journal_path)

    def restore(self, perform: Callable[[dict[str, Any]], str | None]) -> list[str]:
        """Put back what the journal says, and remove it; called within the mutex.

        Returns:
            notes about what was left alone, or about a journal from before a restart of the machine.

        Raises:
            OSError: a command failed, after the others were tried; the journal stays, for the next one to try.
        """
        journal = self.journal()
        if journal is None:
            self.forget()
            return []
        if journal.get("boot_id") != boot_id():
            self.forget()
            return [f"{journal.get('device')}: its journal is older than the machine's last start: dropped"]
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
    """Return the id of this start of the machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return "unknown"


def read_json(path: str) -> dict[str, Any] | None:
    """Return the object in a file; None where there is none, or it cannot be read."""
    try:
        with open(path) as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _lock(handle: int, folder: str) -> None:
    deadline_s = time.monotonic() + _MUTEX_PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{folder} is locked for more than {_MUTEX_PATIENCE_S:g} s") from None
            time.sleep(_RETRY_S)
        else:
            return
