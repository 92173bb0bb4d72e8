"""The guard: whatever an actuator changes is put back, however the run ends.

- Before the first change the previous state is journalled (`journal`), flushed to the disk, and a watchdog
  process started (`watchdog`), which puts it back after SIGKILL. Normal exit, exceptions, SIGINT and SIGTERM
  restore in this process; a signal that ends it at once is the watchdog's again.
- If both were killed, the next run on the device, or `overwinter power status --restore`, restores; after a
  restart of the machine the driver has done so, and the journal is dropped.
- A limit that an operator has set is never raised: not above what was found at the start, nor above what
  someone else sets meanwhile; and that is what is put back then.
- Two runs on one device: the second is refused, or both share it (`power.share_device`), and the lowest
  limit holds.

What happens to one device is in `held_device`; here they are taken together, and let go together.
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
from overwinter.power.guard.state_folder import made, state_folder
from overwinter.power.guard.watchdog_process import Watchdog

_PATIENCE_S = 5.0


class Guard:
    """Sets limits on all devices of an actuator and puts them back; a context manager.

    Args:
        actuator: what sets them.
        state: folder for journals, the same for every run on this machine; `state_folder()` by default.
        share: whether another run may share a device with this one.
        warn: takes one line for the user.
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
        """Take the devices, and restore what a killed run has left on them. Changes nothing else.

        One that does not answer is reported of and left out.

        Raises:
            RefusedError: another run holds one of them.
            DeviceLostError: none answers.
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
        """Return the limit to which the device goes back, and above which it is never set."""
        return self._held[device].previous

    def apply(self, device: str, value: float | None) -> float:
        """Set a limit; None gives the previous one back.

        Returns:
            what is enforced, read back.

        Raises:
            LimitError: not a number, or outside the device's range; the limit stays as it was.
            DeniedError: this process may not set it.
            DeviceLostError: the device does not answer.
            OverwinterError: the guard is closed; nothing would put the limit back.
        """
        with self._mutex:
            if self._closed:
                raise OverwinterError(f"{device} is not held any more, so its limit stays as it is.")
            return self._held[device].apply(value)

    def close(self) -> None:
        """Put everything back, let the devices go and close the actuator.

        Does nothing in a forked child, or a second time.
        """
        if os.getpid() != self._pid or self._closed:
            return
        if not self._mutex.acquire(timeout=_PATIENCE_S):
            self._warn("A driver hangs; the limits will be put back when this process has ended.")
            return  # the watchdog, which no one has dismissed, does it
        try:
            self._closed = True
            kept = [device for device, held in self._held.items() if not held.let_go()]
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
            self._warn(f"{each} It is left out.")

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
        """Start the watchdog, unless it runs."""
        if self._watchdog is None:
            folders = [held.slot.folder for held in self._held.values() if held.slot is not None]
            self._watchdog = Watchdog(self._identity, folders)
