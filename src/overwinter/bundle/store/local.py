"""A store in a local folder."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from overwinter import files
from overwinter.errors import IntegrityError

_MODE = 0o600


class LocalStorage:
    """A `Storage` on a local disk; files are readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str, limit_bytes: int) -> bytes:
        """See `Storage`."""
        try:
            with (self._root / name).open("rb") as stream:
                content = stream.read(limit_bytes + 1)
        except OSError as error:
            raise IntegrityError(f"{self._root / name} cannot be read: {error.strerror}. Publish it again.") from None
        if len(content) > limit_bytes:
            raise IntegrityError(f"{self._root / name} is larger than {limit_bytes} bytes. Don't use it.")
        return content

    def create(self, name: str, content: bytes) -> bool:
        """See `Storage`; of several processes, only one succeeds in creating a hard link."""
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part") as staging:
                staging.write(content)
                staging.flush()
                os.fchmod(staging.fileno(), _MODE)
                os.fsync(staging.fileno())
                os.link(staging.name, path)
            files.sync(path.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise files.write_error(path, error) from error
        return True

    def write(self, name: str, content: bytes) -> None:
        """See `Storage`."""
        files.write_bytes(self._root / name, content, _MODE)

    def age_s(self, name: str) -> float | None:
        """See `Storage`."""
        try:
            return max(0.0, time.time() - (self._root / name).stat().st_mtime)
        except OSError:
            return None

    def names(self, folder: str) -> list[str]:
        """See `Storage`."""
        found = (path for path in (self._root / folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def remove(self, name: str) -> None:
        """See `Storage`."""
        (self._root / name).unlink(missing_ok=True)
