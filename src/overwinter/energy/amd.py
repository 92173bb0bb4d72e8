"""AMD GPUs through amdsmi (the extra `amd`).

Written from the documentation of amdsmi 6.4 and 7.0 and tested with a fake module; it has not been run on hardware.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from overwinter.energy.channel import Channel
from overwinter.energy.counter import CounterGauge
from overwinter.energy.opening import Opening
from overwinter.energy.protocols import Gauge

_DRIVER = Path("/sys/module/amdgpu")
_PEAK_W = 4000.0
_GUESS_W = 200.0


class AmdGauge(CounterGauge):
    """The socket's energy accumulator. Its unit, in microjoules, comes with every reading."""

    source = "amdsmi"
    relative_uncertainty = 0.10
    edge_s = 0.01

    def __init__(self, amdsmi: Any, handle: Any, device: str, warn: Callable[[str], None]) -> None:
        self._amdsmi, self._handle = amdsmi, handle
        unit_uj = float(amdsmi.amdsmi_get_energy_count(handle)["counter_resolution"])
        super().__init__(self._accumulator, device=device, warn=warn, unit_uj=unit_uj, peak_w=_PEAK_W)

    def power_w(self) -> float | None:
        """Return the socket's power, if reported; older devices report only an average."""
        info = self._amdsmi.amdsmi_get_power_info(self._handle)
        powers = (info.get("current_socket_power"), info.get("average_socket_power"))
        return next((float(power) for power in powers if isinstance(power, (int, float))), None)

    def limit_w(self) -> float | None:
        """Return the power cap in force (amdsmi gives microwatts)."""
        return float(self._amdsmi.amdsmi_get_power_cap_info(self._handle)["power_cap"]) / 1e6

    def _accumulator(self) -> int:
        return int(self._amdsmi.amdsmi_get_energy_count(self._handle)["energy_accumulator"])


def open_amd(opening: Opening) -> list[Channel]:
    """Open every AMD GPU that amdsmi lists."""
    if not _present():
        return []
    try:
        import amdsmi  # type: ignore[import-not-found, import-untyped, unused-ignore]

        amdsmi.amdsmi_init()
    except Exception as error:  # noqa: BLE001 -- amdsmi raises at import when its library is missing or old
        opening.warn(f"amdsmi does not start ({error}); AMD GPUs are not metered")
        return []
    opening.closers.append(amdsmi.amdsmi_shut_down)
    handles = amdsmi.amdsmi_get_processor_handles()
    return [_channel(amdsmi, handle, f"gpu:amd-{index}", opening) for index, handle in enumerate(handles)]


def amd_status() -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    if not _DRIVER.exists():
        return False, "no AMD GPU driver (amdgpu)", "nothing to do without an AMD GPU"
    if importlib.util.find_spec("amdsmi") is None:
        return False, "the Python package amdsmi is not installed", "pip install 'overwinter[amd]'"
    return True, "amdgpu and amdsmi are present (this source has not been tested on hardware)", ""


def _present() -> bool:
    return _DRIVER.exists() and importlib.util.find_spec("amdsmi") is not None


def _channel(amdsmi: Any, handle: Any, device: str, opening: Opening) -> Channel:
    try:
        gauges: list[Gauge] = [AmdGauge(amdsmi, handle, device, opening.warn)]
    except Exception as error:  # noqa: BLE001 -- as above
        opening.warn(f"{device}: its energy counter cannot be read ({error}); assuming {_GUESS_W:g} W")
        gauges = []
    return Channel(
        device=device,
        gauges=gauges,
        guess_w=_GUESS_W,
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
    )
