"""Joules of work on a GPU: its own counter, in addition to the CPU's joules.

NVIDIA's counter updates about ten times a second, so a sample lasts at least ten updates. Idle means a GPU that holds
the models, at its clocks for work, as in a server that waits for requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from overwinter.energy import EnergyMeter, EnergyReport
from overwinter.errors import ConfigError
from overwinter.evaluation.joules import CpuJoules, Rates, Reading

_IDLE_S = 1.0
_MODELLED = "modelled"
# Ten updates of the source; see the sources' `edge_s` in overwinter.energy.
_MIN_S = {"nvml-power": 10.0}
_MIN_COUNTED_S = 1.0


class GpuJoules(CpuJoules):
    """Reader of a GPU's counter around pieces of work, in addition to `CpuJoules`.

    Args:
        meter: the stage's meter.
        device: `cuda` or `cuda:N`, in torch's numbering.

    Raises:
        ConfigError: no meter covers the GPU: its joules cannot be modelled from time.
    """

    def __init__(self, meter: EnergyMeter, device: str) -> None:
        with meter.window("idle GPU") as idle:
            time.sleep(_IDLE_S)
        report = idle.close()
        self._gpu = metered_gpu(report, device)
        self._gpu_idle_w = self._gpu_j(report) / report.duration_s
        source = next(part.source for part in report.components if part.device == self._gpu)
        self.min_sample_s = _MIN_S.get(source, _MIN_COUNTED_S)
        super().__init__(meter)

    @contextmanager
    def piece(self) -> Iterator[Reading]:
        """Read the counters around the work inside, synchronizing with CUDA at both ends."""
        reading = Reading()
        with self._meter.window("responses") as window:
            yield reading
        report = window.close()
        reading.gpu_j = self._gpu_j(report)
        if self.measured:
            reading.energy_j = self._cpu_j(report)

    def rates(self, threads: int) -> Rates:
        """End the comparison and return its rates; see `CpuJoules.rates`."""
        return replace(super().rates(threads), gpu_idle_w=self._gpu_idle_w)

    def _gpu_j(self, report: EnergyReport) -> float:
        return sum(part.energy_j for part in report.components if part.device == self._gpu)


def joules_of(meter: EnergyMeter, device: str) -> CpuJoules:
    """Return the reader of joules for a device."""
    return CpuJoules(meter) if device == "cpu" else GpuJoules(meter, device)


def metered_gpu(report: EnergyReport, device: str) -> str:
    """Return the meter's name of torch's device: NVML numbers GPUs by slot, CUDA the visible ones by speed.

    Args:
        report: report of any window of the meter.
        device: `cuda` or `cuda:N`.

    Raises:
        ConfigError: no counter or sensor covers it.
    """
    read = [part.device for part in report.components if part.device.startswith("gpu") and part.source != _MODELLED]
    metered = list(dict.fromkeys(read))
    if len(metered) == 1:
        return metered[0]
    wanted = _by_uuid(device) if metered else None
    if wanted not in metered:
        raise ConfigError(
            f"No meter covers device={device}, which computes the outputs (GPUs metered: "
            f"{', '.join(metered) or 'none'}).\n"
            "Add `nvml` to energy.sources, or set device=auto, which measures on the CPU."
        )
    return wanted


def _by_uuid(device: str) -> str | None:
    """Return the meter's name of torch's GPU among several, or None if NVML does not list it."""
    import pynvml
    import torch

    from overwinter.energy.nvml_boards import all_boards

    properties: Any = torch.cuda.get_device_properties(device)
    wanted = f"GPU-{str(properties.uuid).removeprefix('GPU-')}"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return next((board.device for board in all_boards() if board.uuid == wanted), None)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
