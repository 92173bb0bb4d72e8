"""Interface to the place where a store is kept."""

from __future__ import annotations

from typing import Protocol


class Storage(Protocol):
    """Small files by name, each complete or absent. Names have forward slashes; contents fit into memory."""

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Return the content of a file.

        Raises:
            IntegrityError: it is missing, or larger than ``limit_bytes``.
            OverwinterError: the place cannot be reached.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file atomically; return False and write nothing if it exists already."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing an existing one."""

    def age_s(self, name: str) -> float | None:
        """Return the seconds since a file was written, or None if it does not exist."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all files below a folder; empty if the folder is missing."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
