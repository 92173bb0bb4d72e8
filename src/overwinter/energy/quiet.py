"""Quiet devices: a measurement has the devices that it measures to itself, while other runs of this user wait.

Stages share the devices while they work. One that measures waits until the others have left, and those leave at their
next step and wait until it is done. Containers exclude each other only if OVERWINTER_QUIET names a shared folder.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from overwinter.energy.claim import Claim
from overwinter.energy.cuda import synchronize
from overwinter.energy.nvml_boards import library_present, visible_boards
from overwinter.errors import OverwinterError
from overwinter.state_folders import checked, made, state_path

CPU = "cpu"
FOLDER_VARIABLE = "OVERWINTER_QUIET"
_NAME = "quiet"
_RETRY_S = 0.05
_SILENT_S = 1.0  # shorter waits are not worth a message
_PACE_S = 0.25
_WORKING = "waits for the other run's measurement"
_MEASURING = "waits for the other runs to leave the device to its measurement"


class QuietDevices:
    """This run's claim on devices: shared until `alone`, and left to the measurements of others in `give_way`.

    Without a usable folder, nothing is claimed, and `trouble` says why.

    Args:
        devices: The devices' names, from `devices_of`.
        notify: A function that shows one line to the user.
        stop: A function that is called while waiting, and may raise to end it.

    Attributes:
        waited_s: Seconds spent waiting; the caller may reset it.
        trouble: Why measurements may be disturbed by other runs; empty if they are not.
    """

    def __init__(self, devices: Iterable[str], *, notify: Callable[[str], None], stop: Callable[[], None]) -> None:
        self._notify, self._stop = notify, stop
        self.waited_s, self.trouble = 0.0, ""
        self._claim: Claim | None = None
        self._is_alone = False
        self._looked_s = 0.0
        try:
            self._claim = Claim(checked(made(state_path(_NAME, FOLDER_VARIABLE)), FOLDER_VARIABLE), devices)
        except (OSError, OverwinterError) as error:
            self.trouble = f"other runs may disturb the measurements here, since they cannot be kept waiting: {error}"

    def __enter__(self) -> QuietDevices:
        """Share the devices, after the measurement that has them now."""
        if self._claim is not None:
            self._wait_for(self._claim.share, _WORKING)
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the devices."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def give_way(self, waiting: Callable[[], AbstractContextManager[None]]) -> None:
        """Leave the devices to a measurement that awaits them, and share them again after it; else return at once.

        Args:
            waiting: A context for the wait, such as `EnergyMeter.paused`.
        """
        now_s = time.monotonic()
        if self._claim is None or self._is_alone or now_s - self._looked_s < _PACE_S:
            return
        self._looked_s = now_s
        if self._claim.is_wanted():
            synchronize()  # what this run has given to a GPU is still its work
            with waiting():
                self._claim.leave()
                self._wait_for(self._claim.share, _WORKING)

    @contextlib.contextmanager
    def alone(self, waiting: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Have the devices to itself inside the context; afterwards they are shared.

        Args:
            waiting: A context for the wait, such as `EnergyMeter.paused`.
        """
        if self._claim is None or self._is_alone:
            yield
            return
        self._clear(self._claim, waiting)
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False
            self._claim.share_again()

    def _clear(self, claim: Claim, waiting: Callable[[], AbstractContextManager[None]]) -> None:
        """Bar the devices and wait until they are empty. Nothing is shared while another measurement goes first."""
        barred = claim.bar()
        if barred and claim.empty():
            return
        with waiting():
            if not barred:
                claim.leave()
            self._wait_for(lambda: claim.bar() and claim.empty(), _MEASURING)

    def _wait_for(self, reached: Callable[[], bool], message: str) -> None:
        begin_s, reported = time.monotonic(), False
        while not reached():
            self._stop()
            if not reported and time.monotonic() - begin_s >= _SILENT_S:
                reported = True
                self._notify(message)
            time.sleep(_RETRY_S)
        if time.monotonic() - begin_s > _RETRY_S / 2:
            self.waited_s += time.monotonic() - begin_s


def devices_of(device: str) -> list[str]:
    """Return the names of the devices that work on ``device`` uses: the CPU, and the GPUs that it may compute on.

    A GPU is named by its UUID, or its PCI address. Of another maker's GPUs, all together are one device.

    Args:
        device: `cpu`, `cuda`, `cuda:N`, or `auto`, which may use every GPU in CUDA_VISIBLE_DEVICES.
    """
    if device == CPU:
        return [CPU]
    kind, _, number = device.partition(":")
    gpus = _nvidia_gpus() or ["gpu"]
    if kind == "auto":
        return [CPU, *gpus]
    place = int(number or 0)
    return [CPU, gpus[place] if place < len(gpus) else gpus[0]]


def _nvidia_gpus() -> list[str]:
    """Return the visible GPUs in CUDA's order; empty without NVIDIA's driver."""
    if not library_present():
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        boards = visible_boards().boards
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
    return [board.uuid or board.address or board.device for board in boards]
