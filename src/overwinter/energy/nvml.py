"""NVIDIA GPUs through NVML: the energy counter, else power samples integrated over time.

The counter is preferred because power readings of data-centre GPUs look at a part of the time only (25 % on
A100 and H100, https://arxiv.org/abs/2312.02741).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from overwinter.energy.channel import Channel
from overwinter.energy.counter import CounterGauge
from overwinter.energy.cuda_devices import visible_gpus
from overwinter.energy.opening import Opening
from overwinter.energy.protocols import Gauge, Increment

_PEAK_W = 4000.0  # no board draws more; what would is a counter's jump
_LIMIT_READS = 10  # the limit is read at every tenth sample
_FALLBACK_GUESS_W = 200.0


class _Board:
    """The power and the limit that a board tells."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._limit_w: float | None = None
        self._limit_reads = 0

    def power_w(self) -> float:
        import pynvml

        return float(pynvml.nvmlDeviceGetPowerUsage(self._handle)) / 1e3

    def energy_mj(self) -> int:
        import pynvml

        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def limit_w(self) -> float | None:
        """Return the limit that really holds."""
        if self._limit_reads % _LIMIT_READS == 0:
            self._limit_w = self._read_limit_w()
        self._limit_reads += 1
        return self._limit_w

    def _read_limit_w(self) -> float | None:
        import pynvml

        try:
            return float(pynvml.nvmlDeviceGetEnforcedPowerLimit(self._handle)) / 1e3
        except pynvml.NVMLError:
            return None


class NvmlCounterGauge(CounterGauge):
    """The board's energy counter, in millijoules since the driver was loaded (Volta and later)."""

    source = "nvml-counter"
    relative_uncertainty = 0.05
    edge_s = 0.1

    def __init__(self, board: _Board, device: str, warn: Callable[[str], None]) -> None:
        super().__init__(board.energy_mj, device=device, warn=warn, unit_uj=1000, peak_w=_PEAK_W)
        self._board = board

    def power_w(self) -> float:
        """Return the power now."""
        return self._board.power_w()

    def limit_w(self) -> float | None:
        """Return the limit that really holds."""
        return self._board.limit_w()


class NvmlPowerGauge:
    """Board power, integrated by the trapezoid rule. Readings are averages over about a second."""

    source = "nvml-power"
    relative_uncertainty = 0.10
    edge_s = 1.0
    max_interval_s = 1.0

    def __init__(self, board: _Board) -> None:
        self._board = board
        self._now_s = 0.0
        self._power_w: float | None = None

    def start(self, now_s: float) -> None:
        """Begin at ``now_s``; that may be in the past, if another gauge failed then."""
        self._now_s, self._power_w = now_s, None

    def advance(self, now_s: float, *, edge: bool) -> Increment:  # noqa: ARG002 -- every reading counts alike
        """Return what was drawn since the previous call."""
        power_w = self._board.power_w()
        mean_w = power_w if self._power_w is None else (power_w + self._power_w) / 2
        energy_uj = round(mean_w * max(now_s - self._now_s, 0.0) * 1e6)
        self._now_s, self._power_w = now_s, power_w
        return Increment(energy_uj=energy_uj)

    def power_w(self) -> float | None:
        """Return the power at the last reading."""
        return self._power_w

    def limit_w(self) -> float | None:
        """Return the limit that really holds."""
        return self._board.limit_w()


def open_nvml(opening: Opening) -> list[Channel]:
    """Open the GPUs that CUDA_VISIBLE_DEVICES shows."""
    if not library_present():
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        opening.warn(f"nvml: the driver's library is there but does not start ({error}); GPUs are not metered")
        return []
    opening.closers.append(pynvml.nvmlShutdown)
    try:
        return [channel for index in visible_indices() if (channel := _channel(index, opening))]
    except pynvml.NVMLError as error:
        opening.warn(f"nvml: the GPUs cannot be listed ({error}); GPUs are not metered")
        return []


def nvml_status() -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    if not library_present():
        return (
            False,
            "no NVIDIA driver (libnvidia-ml.so.1)",
            "nothing to do without an NVIDIA GPU; else install its driver",
        )
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return False, f"NVML does not start: {error}", "check the driver with nvidia-smi"
    try:
        return _described(pynvml)
    except pynvml.NVMLError as error:
        return False, f"the GPUs cannot be listed: {error}", "check the driver with nvidia-smi"
    finally:
        pynvml.nvmlShutdown()


def library_present() -> bool:
    """Whether the driver's library can be loaded; much quicker than importing pynvml to find out."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _described(pynvml: Any) -> tuple[bool, str, str]:
    visible = visible_indices()
    if not visible:
        return False, "no GPU is visible", "check CUDA_VISIBLE_DEVICES"
    names = (pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in visible)
    return True, ", ".join(f"gpu:{index} {name}" for index, name in zip(visible, names, strict=True)), ""


def visible_indices() -> list[int]:
    """Return NVML's indices of the GPUs that CUDA_VISIBLE_DEVICES shows; NVML must be initialised."""
    import pynvml

    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    parents = _mig_parents(handles) if value and "MIG-" in value else {}
    return visible_gpus(value, [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles], parents)


def _mig_parents(handles: list[Any]) -> dict[str, int]:
    """Map the UUID of each MIG device to the index of its GPU."""
    import pynvml

    parents: dict[str, int] = {}
    for index, handle in enumerate(handles):
        try:
            slots = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
        except pynvml.NVMLError:
            continue  # a GPU without MIG
        for slot in range(slots):
            try:
                mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
            except pynvml.NVMLError:
                continue  # an empty slot
            parents[str(pynvml.nvmlDeviceGetUUID(mig))] = index
    return parents


def _channel(index: int, opening: Opening) -> Channel | None:
    import pynvml

    device = f"gpu:{index}"
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    board, gauges = _Board(handle), list[Gauge]()
    if _answers(board.energy_mj):
        gauges.append(NvmlCounterGauge(board, device, opening.warn))
    if _answers(board.power_w):
        gauges.append(NvmlPowerGauge(board))
    limit_w = board.limit_w()
    guess_w = limit_w / 2 if limit_w else _FALLBACK_GUESS_W
    if not gauges:
        opening.warn(f"{device}: neither an energy counter nor a power reading; assuming {guess_w:g} W, half its limit")
    if "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", ""):
        opening.warn(f"{device}: a MIG device has no meter of its own; the whole board is counted")
    return Channel(
        device=device,
        gauges=gauges,
        guess_w=guess_w,
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
        never_still=True,
    )


def _answers(read: Callable[[], float]) -> bool:
    import pynvml

    try:
        read()
    except pynvml.NVMLError:
        return False
    return True
