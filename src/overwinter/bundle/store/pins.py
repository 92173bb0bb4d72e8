"""Pins: the newest catalog that this machine has seen, so that a replayed older one is detected."""

from __future__ import annotations

import os
from pathlib import Path

from overwinter import files
from overwinter.bundle.store.locking import exclusive
from overwinter.errors import IntegrityError

_REMEDY = "Remove the file if you no longer need its pins."


class Pins:
    """A file of pins: store and name -> serial and digest of the newest catalog that was seen.

    The Update Framework (https://theupdateframework.io) protects the versions of its metadata in the same way.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def default(cls) -> Pins:
        """Return the pins of this user."""
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(state) / "overwinter" / "pins.json")

    def set(self, address: str, serial: int, digest: str) -> None:
        """Pin a serial, or move the pin forward; safe against concurrent processes."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self._path):
            pins = self._load()
            if address not in pins or pins[address][0] < serial:
                files.write_json(self._path, {**pins, address: [serial, digest]}, mode=0o600)

    def check(self, address: str, serial: int, digest: str) -> None:
        """Compare a catalog with the pin, if there is one, and move the pin to it.

        Raises:
            IntegrityError: it is older than the pin, or differs from it at the same serial.
        """
        pinned = self._load().get(address)
        if pinned is None:
            return
        if serial < pinned[0] or (serial == pinned[0] and digest != pinned[1]):
            raise IntegrityError(
                f"{address} went back to its change {serial}, but change {pinned[0]} was already seen on this machine. "
                f"The store was reset to an old state: don't use it. (The pin is in {self._path}.)"
            )
        if serial > pinned[0]:
            self.set(address, serial, digest)

    def _load(self) -> dict[str, tuple[int, str]]:
        if not self._path.exists():
            return {}
        content = files.read_json(self._path, remedy=_REMEDY)
        try:
            return {str(address): (int(serial), str(digest)) for address, (serial, digest) in content.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise IntegrityError(f"{self._path} holds no pins: {error}. {_REMEDY}") from None
