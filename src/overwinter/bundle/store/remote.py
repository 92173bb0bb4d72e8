"""A store at an fsspec address, such as s3://bucket/prefix (with the package s3fs)."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator

import fsspec  # type: ignore[import-untyped]  # has no types

from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.remote import how_to_install


class RemoteStorage:
    """A `Storage` at an fsspec address. The driver finds credentials and endpoints in its usual places.

    Raises:
        ConfigError: there is no driver for the address.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            self._system, self._root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"No driver for the store {address}: {error}.{how_to_install(address)}") from None

    def read(self, name: str, limit_bytes: int) -> bytes:
        """See `Storage`."""
        try:
            with self._reaching():
                content: bytes = self._system.cat_file(self._path(name), start=0, end=limit_bytes + 1)
        except FileNotFoundError:
            raise IntegrityError(f"{self._address}/{name} is missing. Publish it again.") from None
        if len(content) > limit_bytes:
            raise IntegrityError(f"{self._address}/{name} is larger than {limit_bytes} bytes. Don't use it.")
        return content

    def create(self, name: str, content: bytes) -> bool:
        """See `Storage`; S3 makes it atomic (`If-None-Match: *`)."""
        try:
            self._pipe(name, content, mode="create")
        except FileExistsError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """See `Storage`."""
        self._pipe(name, content, mode="overwrite")

    def age_s(self, name: str) -> float | None:
        """See `Storage`."""
        try:
            with self._reaching():
                written: dt.datetime = self._system.modified(self._path(name))
        except FileNotFoundError:
            return None
        now = dt.datetime.now(dt.UTC if written.tzinfo else None)
        return max(0.0, (now - written).total_seconds())

    def names(self, folder: str) -> list[str]:
        """See `Storage`."""
        try:
            with self._reaching():
                found: list[str] = self._system.find(self._path(folder))
        except FileNotFoundError:
            return []
        return sorted(path[len(self._root.rstrip("/")) + 1 :] for path in found)

    def remove(self, name: str) -> None:
        """See `Storage`."""
        with contextlib.suppress(FileNotFoundError), self._reaching():
            self._system.rm_file(self._path(name))

    def _pipe(self, name: str, content: bytes, mode: str) -> None:
        try:
            with self._reaching():
                self._system.pipe_file(self._path(name), content, mode=mode)
        except FileNotFoundError:
            raise OverwinterError(f"The store {self._address} cannot be reached: there is no such place.") from None

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Convert the exceptions of drivers, which have no common class, to our own."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # noqa: BLE001 -- see above
            if "PreconditionFailed" in str(error) or "ConditionalRequestConflict" in str(error):
                raise FileExistsError from None
            raise OverwinterError(f"The store {self._address} cannot be reached: {error}. Try again.") from None
