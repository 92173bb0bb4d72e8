"""The SQLite file of the ledger: its connections, journal mode and corruption.

WAL mode lets several processes write and read at once (https://sqlite.org/wal.html). It needs shared memory, so
network file systems get a rollback journal, with the reason in `Database.journal_reason`. A connection is never used
after a fork (https://sqlite.org/howtocorrupt.html), and is reopened if its file was replaced. A corrupted file is
renamed with its date.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from overwinter.ledger.schema import migrate

Work = TypeVar("Work")
OPEN_TIMEOUT_S = 10.0
_CORRUPTION = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# File systems that other machines can write to, with which WAL's shared memory does not work.
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "gpfs",
    "beegfs",
)
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone")


@dataclass
class _Session:
    """One process's connection."""

    pid: int = field(default_factory=os.getpid)
    lock: threading.RLock = field(default_factory=threading.RLock)
    connection: sqlite3.Connection | None = None
    file_identity: tuple[int, int] | None = None


# Connections inherited by a fork. Using or closing them in the child could break the parent's locks.
_INHERITED: list[_Session] = []


class Database:
    """A SQLite file that outlives forks, replacement and corruption.

    Args:
        path: The file; it is created, with its folder, at the first write.
        log: A function that reports errors to the user.

    Attributes:
        journal_reason: The reason for a journal other than WAL; empty for WAL, or before the file is opened.
    """

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self.path = path
        self.journal_reason = ""
        self._log = log
        self._session = _Session()

    def write(self, work: Callable[[sqlite3.Connection], Work], *, busy_timeout_s: float, durable: bool) -> Work:
        """Call ``work`` in one short transaction.

        Args:
            work: A function of the connection; called again if the first call finds a corrupted file.
            busy_timeout_s: Maximum time to wait for another process's transaction.
            durable: Whether to flush to the disk before returning, so that a power cut cannot undo it.

        Raises:
            sqlite3.Error: the disk is full or read-only, the file is locked for too long, ...
            OSError: the folder cannot be created.
        """

        def transaction(connection: sqlite3.Connection) -> Work:
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * busy_timeout_s)}")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable or self.journal_reason else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # after a full disk, SQLite has already rolled back
                    connection.execute("ROLLBACK")
                raise
            return result

        return self._through_corruption(transaction, self._writable)

    def read(self, work: Callable[[sqlite3.Connection], Work]) -> Work:
        """Call ``work``, which only reads; this also works on a read-only disk.

        Raises:
            sqlite3.Error, OSError: the file cannot be read.
        """
        return self._through_corruption(work, self._readable)

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        session = self._own()
        with session.lock:
            _disconnect(session)

    def _through_corruption(
        self,
        work: Callable[[sqlite3.Connection], Work],
        connected: Callable[[_Session], contextlib.AbstractContextManager[sqlite3.Connection]],
    ) -> Work:
        session = self._own()
        with session.lock:
            found: tuple[int, int] | None = None
            try:
                found = _file_identity(self.path)
                with connected(session) as connection:
                    return work(connection)
            except sqlite3.DatabaseError as error:
                if not is_corruption(error):
                    raise
                _disconnect(session)
                self._quarantine(found, error)
            with connected(session) as connection:
                return work(connection)

    def _own(self) -> _Session:
        if self._session.pid != os.getpid():
            _INHERITED.append(self._session)
            self._session = _Session()
        return self._session

    @contextlib.contextmanager
    def _writable(self, session: _Session) -> Iterator[sqlite3.Connection]:
        identity = _file_identity(self.path)
        if session.connection is None or session.file_identity != identity or identity is None:
            _disconnect(session)
            session.connection = self._connect()
            session.file_identity = _file_identity(self.path)
        yield session.connection

    @contextlib.contextmanager
    def _readable(self, session: _Session) -> Iterator[sqlite3.Connection]:
        try:
            with self._writable(session) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except (sqlite3.OperationalError, OSError):
            with contextlib.closing(connect_read_only(self.path)) as connection:
                yield connection
        else:
            yield connection

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _folder_locked(self.path.parent):
            connection = sqlite3.connect(
                self.path, timeout=OPEN_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                connection.row_factory = sqlite3.Row
                self._choose_journal(connection)
                migrate(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _choose_journal(self, connection: sqlite3.Connection) -> None:
        system = _file_system(self.path.parent)
        network = system in _NETWORK or system in _NETWORK_FUSE
        wanted = "DELETE" if network else "WAL"
        got = str(connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]).upper()
        reason = ""
        if network:
            reason = f"{self.path.parent} is on a network file system ({system}), where SQLite's WAL does not work"
        elif got != "WAL":
            reason = f"SQLite cannot use WAL in {self.path.parent} (file system {system or 'unknown'})"
        if reason and not self.journal_reason:
            self._log(f"The ledger uses the slower journal '{got.lower()}': {reason}.")
        self.journal_reason = reason

    def _quarantine(self, found: tuple[int, int] | None, error: sqlite3.DatabaseError) -> None:
        with _folder_locked(self.path.parent):
            if found is None or _file_identity(self.path) != found:
                return  # another process has already started a new one
            quarantined = _free_name(self.path)
            for suffix in ("-wal", "-shm", ""):
                source = Path(f"{self.path}{suffix}")
                if source.exists():
                    source.rename(f"{quarantined}{suffix}")
        self._log(
            f"The ledger {self.path} is corrupted ({error}). It was renamed to {quarantined.name}, and a new one "
            "started: earlier runs are missing from sums, forecasts and resumed spending."
        )


def is_corruption(error: sqlite3.Error) -> bool:
    """Return whether ``error`` means a broken file, rather than a full disk, a lock or a wrong statement."""
    code: int | None = getattr(error, "sqlite_errorcode", None)  # missing from errors of the module itself
    return code is not None and (code & 0xFF) in _CORRUPTION


def _disconnect(session: _Session) -> None:
    if session.connection is not None:
        with contextlib.suppress(sqlite3.Error):
            session.connection.close()
    session.connection = None
    session.file_identity = None


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that never changes the file, nor moves a corrupted one away.

    Raises:
        sqlite3.Error, OSError: the file is missing, is no ledger, or cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    # `mode=ro` needs the WAL's shared memory; a read-only disk has no writers, so `immutable` is safe.
    for options in ("mode=ro", "immutable=1"):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("SELECT count(*) FROM executions").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            trouble = error
        else:
            return connection
    raise trouble


def is_busy(error: BaseException) -> bool:
    """Return whether another process held the file for too long, and nothing else is wrong with it."""
    # The lowest byte is the primary code: https://www.sqlite.org/rescode.html
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _file_identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - at every heartbeat: half the price of Path.stat
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Lock the folder while setting up a ledger; do nothing if folders cannot be locked."""
    handle = -1
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _free_name(path: Path) -> Path:
    now = datetime.now(UTC)
    quarantined = path.with_name(f"{path.stem}.corrupted-{now:%Y%m%dT%H%M%SZ}{path.suffix}")
    number = 2
    while quarantined.exists():
        quarantined = path.with_name(f"{path.stem}.corrupted-{now:%Y%m%dT%H%M%SZ}-{number}{path.suffix}")
        number += 1
    return quarantined


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds ``folder``, or an empty string."""
    try:
        device = os.stat(folder).st_dev  # noqa: PTH116 - beside os.major and os.minor
        wanted = f"{os.major(device)}:{os.minor(device)}"
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(" ")
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        pass
    return ""
