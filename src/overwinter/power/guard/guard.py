"""The guard restores an actuator's changes, however the run ends.

- Before the first change, the previous state is written to the journal (`journal`) and flushed to the disk, and a
  watchdog process starts (`watchdog`). Normal exit, exceptions, SIGINT and SIGTERM restore in this process; after
  SIGKILL or another signal that ends it at once, the watchdog restores.
- If both were killed, the next run on the device or `overwinter power status --restore` restores. A reboot resets
  the driver, and the journal is dropped.
- A limit that an operator has set is never raised: neither the one found at the start, nor one set during the run,
  which is then the limit to restore.
- Two runs on one device: the second is refused, or both share it (`power.share_device`), and the lowest limit holds.

`held_device` handles one device; the guard takes and releases all devices together.
"""

from __future__ import annotations

import atexit
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from overwinter.errors import OverwinterError
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import DeviceLostError
from overwinter.power.guard.held_device import Holding
from overwinter.power.guard.journal import Slot
from overwinter.power.guard.state_folder import state_folder
from overwinter.power.guard.watchdog_process import Watchdog
from overwinter.state_folders import made

_TIMEOUT_S = 5.0


class Guard:
    """Sets limits on all devices of an actuator and restores them; a context manager.

    Args:
        actuator: the actuator that sets the limits.
        state: folder for journals, the same for every run on this machine; `state_folder()` by default.
        share: whether another run may share a device with this one.
        warn: reports one line to the user.
    """

    def __init__(
        self,
        actuator: Actuator,
        *,
        warn: Callable[[str], None],
        state: Path | None = None,
        share: bool = False,
    ) -> None:
        self.actuator = actuator
        self._state, self._share, self._warn = state, share, warn
        self._identity = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._held: dict[str, Holding] = {}
        self._watchdog: Watchdog | None = None
        self._mutex = threading.RLock()
        self._pid, self._closed = os.getpid(), False

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> Self:
        """Take the devices, and restore limits that a killed run has left on them.

        A device that does not respond is reported and skipped.

        Raises:
            RefusedError: another run holds a device.
            DeviceLostError: no device responds.
        """
        atexit.register(self.close)
        try:
            self._take_all()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that are held."""
        return tuple(self._held)

    def previous(self, device: str) -> float:
        """Return the limit to restore, which is never exceeded."""
        return self._held[device].previous

    def apply(self, device: str, value: float | None) -> float:
        """Set a limit; None restores the previous one.

        Returns:
            The enforced limit, read back.

        Raises:
            LimitError: not a number, or outside the device's range; the limit is unchanged.
            DeniedError: this process has no permission to set it.
            DeviceLostError: the device does not respond.
            OverwinterError: the guard is closed; nothing would restore the limit.
        """
        with self._mutex:
            if self._closed:
                raise OverwinterError(f"{device} was released, so its limit is unchanged.")
            return self._held[device].apply(value)

    def close(self) -> None:
        """Restore all limits, release the devices and close the actuator.

        Idempotent; does nothing in a forked child.
        """
        if os.getpid() != self._pid or self._closed:
            return
        if not self._mutex.acquire(timeout=_TIMEOUT_S):
            self._warn("A driver hangs; the watchdog restores the limits when this process ends.")
            return  # the watchdog restores the limits
        try:
            self._closed = True
            kept = [device for device, held in self._held.items() if not held.release()]
            if self._watchdog is not None:
                (self._watchdog.leave if kept else self._watchdog.dismiss)()
            self.actuator.close()
            atexit.unregister(self.close)
        finally:
            self._mutex.release()

    def _take_all(self) -> None:
        lost: list[DeviceLostError] = []
        for device in self.actuator.devices():
            try:
                self._held[device] = self._taken(device)
            except DeviceLostError as error:
                lost.append(error)
        if lost and not self._held:
            raise lost[0]
        for each in lost:
            self._warn(f"{each} It is skipped.")

    def _taken(self, device: str) -> Holding:
        key = self.actuator.key(device)
        return Holding(
            self.actuator,
            device,
            slot=None if key is None else Slot(str(made(self._folder() / key))),
            identity=self._identity,
            share=self._share,
            watch=self._watch,
            warn=self._warn,
        )

    def _folder(self) -> Path:
        if self._state is None:
            self._state = state_folder()
        return self._state

    def _watch(self) -> None:
        """Start the watchdog, unless it is running."""
        if self._watchdog is None:
            folders = [held.slot.folder for held in self._held.values() if held.slot is not None]
            self._watchdog = Watchdog(self._identity, folders)
