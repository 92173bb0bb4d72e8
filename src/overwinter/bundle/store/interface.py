"""What a store needs of the place where it is kept."""

from __future__ import annotations

from typing import Protocol


class Storage(Protocol):
    """Small files by name, each whole or absent. Names have forward slashes; contents fit into memory."""

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Return a file.

        Raises:
            IntegrityError: it is missing, or larger than ``limit_bytes``.
            OverwinterError: the place cannot be reached.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Write a new file; False, and nothing written, if it is there already, however many try at once."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, over the one that is there."""

    def age_s(self, name: str) -> float | None:
        """Return how long ago a file was written; None if there is none."""

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted; none if the folder is missing."""

    def remove(self, name: str) -> None:
        """Remove a file; it is no error if it is gone."""
