"""The sources by name: built in, or entry points in `overwinter.energy_sources`."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from overwinter.energy.channel import Channel
from overwinter.energy.opening import Opening
from overwinter.errors import ConfigError, nearest

ENTRY_POINT_GROUP = "overwinter.energy_sources"
_BUILT_IN = {
    "amdsmi": "overwinter.energy.amd:open_amd",
    "modelled": "overwinter.energy.modelled:open_modelled",
    "nvml": "overwinter.energy.nvml:open_nvml",
    "rapl": "overwinter.energy.rapl:open_rapl",
}
_CONTAINS = {"platform": {"cpu", "ram"}}

Source = Callable[[Opening], list[Channel]]


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


def find_source(name: str) -> Source:
    """Return the function that opens source ``name``.

    Raises:
        ConfigError: there is none of that name.
    """
    if name in _BUILT_IN:
        module, function = _BUILT_IN[name].split(":")
        source: Source = getattr(importlib.import_module(module), function)
        return source
    from importlib.metadata import entry_points  # takes as long to import as all of this package

    others = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in others:
        known = sorted([*_BUILT_IN, *others])
        raise ConfigError(
            f"energy.sources has no meter named {name!r}. Known: {', '.join(known)}.{nearest(name, known)}"
        )
    plugin: Source = others[name].load()
    return plugin


def _opened(name: str, opening: Opening) -> list[Channel]:
    source = find_source(name)
    try:
        return source(opening)
    except Exception as error:  # noqa: BLE001 -- trouble with a meter must not stop the work
        opening.warn(f"{name} could not be opened ({type(error).__name__}: {error}); the next source takes its part")
        return []
