"""The sources by name: built in, or entry points in `overwinter.energy_sources`."""

from __future__ import annotations

from collections.abc import Callable

from overwinter.energy.channel import Channel
from overwinter.energy.opening import Opening
from overwinter.plugins import Registry

Source = Callable[[Opening], list[Channel]]

SOURCES: Registry[Source] = Registry(
    group="overwinter.energy_sources",
    key="energy.sources",
    built_in={
        "amdsmi": "overwinter.energy.amd:open_amd",
        "modelled": "overwinter.energy.modelled:open_modelled",
        "nvml": "overwinter.energy.nvml:open_nvml",
        "rapl": "overwinter.energy.rapl:open_rapl",
    },
)
_CONTAINS = {"platform": {"cpu", "ram"}}


def open_channels(opening: Opening) -> list[Channel]:
    """Open the configured sources in order; no part of the machine is counted twice."""
    channels: list[Channel] = []
    for name in opening.energy.sources:
        found = _opened(name, opening)
        channels += found
        for channel in found:
            kind = channel.device.split(":")[0]
            opening.covered |= _CONTAINS.get(kind, {kind})
    return channels


def _opened(name: str, opening: Opening) -> list[Channel]:
    source = SOURCES.find(name)
    try:
        return source(opening)
    except Exception as error:  # noqa: BLE001 -- trouble with a meter must not stop the work
        opening.warn(f"{name} could not be opened ({type(error).__name__}: {error}); the next source takes its part")
        return []
