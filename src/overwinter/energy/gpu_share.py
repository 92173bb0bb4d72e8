"""This run's share of a GPU's utilisation, from NVML's samples per process, for counters that several runs read.

NVML always reports the host's process ids (https://github.com/NVIDIA/nvidia-docker/issues/1483), so they cannot be
matched in a container with its own pid namespace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from overwinter.energy.split import Use

_OWN_IDS = Path("/proc/self/ns/pid")
_HOST_IDS = "pid:[4026531836]"  # the kernel's PROC_PID_INIT_INO
_LOOK_BACK_S = 2.0  # drivers sample a process once a second or more often


class GpuShare:
    """Divides energy by the time that kernels of each process ran.

    Args:
        uuid: The board's UUID.
        pids: A function that returns the ids of this run's processes.
        clock: The wall clock in seconds, as in NVML's timestamps.
    """

    by = "the processes' GPU utilisation"
    idle_fraction = 0.15  # data-centre boards idle at 40 to 100 of 250 to 700 W

    def __init__(
        self, uuid: str, pids: Callable[[], Collection[int]], *, clock: Callable[[], float] = time.time
    ) -> None:
        self.trouble = "" if _sees_host_ids() else "NVML reports the host's process ids, and this container has its own"
        self._uuid, self._pids, self._clock = uuid, pids, clock

    def begin(self) -> None:
        """Start observing."""
        self.use()

    def use(self) -> Use | None:
        """Return the use of the last seconds, since samples are late."""
        if not _sees_host_ids():
            return None
        import pynvml

        try:
            shares = self._shares()
        except pynvml.NVMLError as error:
            self.trouble = f"the driver does not report its processes ({error})"
            return None
        self.trouble = ""
        ours = set(self._pids())
        own, busy = sum(shares[pid] for pid in shares.keys() & ours), sum(shares.values())
        return Use(own=own / max(busy, 1.0), busy=min(busy, 1.0))

    def _shares(self) -> dict[int, float]:
        """Return each process's share of the GPU's time, from its latest sample."""
        import pynvml

        since_us = round((self._clock() - _LOOK_BACK_S) * 1e6)
        handle = pynvml.nvmlDeviceGetHandleByUUID(self._uuid)
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(handle, since_us)
        except pynvml.NVMLError as error:
            if error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):  # unused
                return {}
            raise
        fresh: list[Any] = [sample for sample in samples if sample.timeStamp > since_us]
        fresh.sort(key=lambda sample: sample.timeStamp)
        return {sample.pid: min(sample.smUtil / 100, 1.0) for sample in fresh}


def _sees_host_ids() -> bool:
    try:
        return str(_OWN_IDS.readlink()) == _HOST_IDS
    except OSError:
        return False
