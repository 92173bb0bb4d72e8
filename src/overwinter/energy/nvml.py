"""NVIDIA GPUs through NVML: the energy counter, else power samples integrated over time.

The counter is preferred because power readings of data-centre GPUs sample only a part of the time (25 % on A100 and
H100, https://arxiv.org/abs/2312.02741).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from overwinter.energy.channel import Channel
from overwinter.energy.counter import CounterGauge
from overwinter.energy.nvml_boards import Board, Visible, library_present, visible_boards
from overwinter.energy.opening import Opening
from overwinter.energy.power_gauge import PowerGauge
from overwinter.energy.protocols import Gauge
from overwinter.energy.ranks import ranks_on_node

_PEAK_W = 4000.0  # more than any board draws; above, the counter jumped
_LIMIT_READS = 10  # the limit is read at every tenth sample
_FALLBACK_GUESS_W = 200.0
_LOST_W = 60.0  # about the idle power of a board, for one that does not respond
_LOST_UNCERTAINTY = 1.0


class _Readings:
    """The power and the limit that a board reports."""

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

    def __init__(self, board: _Readings, device: str, warn: Callable[[str], None]) -> None:
        super().__init__(board.energy_mj, device=device, warn=warn, unit_uj=1000, peak_w=_PEAK_W)
        self._board = board

    def power_w(self) -> float:
        """Return the power now."""
        return self._board.power_w()

    def limit_w(self) -> float | None:
        """Return the limit that really holds."""
        return self._board.limit_w()


class NvmlPowerGauge(PowerGauge):
    """Board power, integrated. Readings are averages over about a second."""

    source = "nvml-power"
    relative_uncertainty = 0.10
    edge_s = 1.0

    def __init__(self, board: _Readings) -> None:
        super().__init__(board.power_w)
        self._board = board

    def limit_w(self) -> float | None:
        """Return the limit that really holds."""
        return self._board.limit_w()


def open_nvml(opening: Opening) -> list[Channel]:
    """Open the GPUs in CUDA_VISIBLE_DEVICES."""
    if not library_present():
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        opening.warn(f"nvml: the driver's library exists but does not start ({error}); GPUs are not metered")
        return []
    opening.closers.append(pynvml.nvmlShutdown)
    try:
        visible = visible_boards()
    except pynvml.NVMLError as error:
        opening.warn(f"nvml: the GPUs cannot be listed ({error}); GPUs are not metered")
        return []
    for text in _doubts(visible):
        opening.warn(f"nvml: {text}")
    return [_channel(board, opening) for board in visible.boards]


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
        return _described()
    except pynvml.NVMLError as error:
        return False, f"the GPUs cannot be listed: {error}", "check the driver with nvidia-smi"
    finally:
        pynvml.nvmlShutdown()


def _described() -> tuple[bool, str, str]:
    visible = visible_boards()
    if not visible.boards:
        return False, "no GPU is visible", "check CUDA_VISIBLE_DEVICES"
    responding = [f"{board.device} {board.name or 'of unknown name'}" for board in visible.boards if board.handle]
    silent = [f"{board.device} does not respond ({board.trouble})" for board in visible.boards if not board.handle]
    detail = ", ".join([*responding, *silent]) + (f"; {visible.doubt}" if visible.doubt else "")
    return (
        bool(responding),
        detail,
        "look for its Xid in the kernel's log; reset or restart the machine" if silent else "",
    )


def _doubts(visible: Visible) -> Iterator[str]:
    """Yield warnings if the metered GPUs may not be those that the work uses."""
    if visible.doubt:
        yield visible.doubt
    ranks = ranks_on_node(os.environ)
    if "CUDA_VISIBLE_DEVICES" in os.environ and len(visible.boards) < ranks:
        yield (
            f"{len(visible.boards)} of this node's GPUs are visible to the first of its {ranks} ranks, which meters "
            "for all; GPUs that only other ranks see are not metered"
        )


def _channel(board: Board, opening: Opening) -> Channel:
    if board.handle is None:
        return _assumed(board, opening)
    readings, gauges = _Readings(board.handle), list[Gauge]()
    if _responds(readings.energy_mj):
        gauges.append(NvmlCounterGauge(readings, board.device, opening.warn))
    if _responds(readings.power_w):
        gauges.append(NvmlPowerGauge(readings))
    limit_w = readings.limit_w()
    guess_w = limit_w / 2 if limit_w else _FALLBACK_GUESS_W
    if not gauges:
        half = ", half its limit" if limit_w else ""
        opening.warn(f"{board.device}: neither an energy counter nor a power reading; assuming {guess_w:g} W{half}")
    if "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", ""):
        opening.warn(f"{board.device}: a MIG device has no separate meter; the whole board is counted")
    return Channel(
        device=board.device,
        gauges=gauges,
        guess_w=guess_w,
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
        never_still=True,
        counter=board.uuid,
    )


def _assumed(board: Board, opening: Opening) -> Channel:
    """Return a channel with an assumed power for a board that does not respond, instead of 0 W."""
    opening.warn(f"{board.device} does not respond ({board.trouble}); it is assumed to idle at {_LOST_W:g} W")
    channel = Channel(
        device=board.device,
        gauges=[],
        guess_w=_LOST_W,
        held_uncertainty=_LOST_UNCERTAINTY,
        warn=opening.warn,
    )
    channel.idle_w = _LOST_W
    return channel


def _responds(read: Callable[[], float]) -> bool:
    import pynvml

    try:
        read()
    except pynvml.NVMLError:
        return False
    return True
