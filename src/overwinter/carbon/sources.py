"""The sources by name: built in, or entry points in `overwinter.intensity_sources`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from overwinter.carbon.constant import FixedIntensity
from overwinter.carbon.country import find_country
from overwinter.carbon.intensity import Intensity, IntensitySource
from overwinter.errors import ConfigError, nearest

ENTRY_POINT_GROUP = "overwinter.intensity_sources"

Factory = Callable[[Any], IntensitySource]


def open_source(config: Any) -> IntensitySource:
    """Open the source that the group `carbon/` names.

    Args:
        config: the group, in the schema of the picked option.

    Raises:
        ConfigError: an unknown source or country.
    """
    return find_source(config.source)(config)


def find_source(name: str) -> Factory:
    """Return the function that opens source ``name``.

    Raises:
        ConfigError: there is none of that name.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    others = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in others:
        known = sorted([*_BUILT_IN, *others])
        raise ConfigError(f"carbon.source={name!r} is not known. Known: {', '.join(known)}.{nearest(name, known)}")
    plugin: Factory = others[name].load()
    return plugin


def _open_constant(config: Any) -> IntensitySource:
    return FixedIntensity(
        intensity=Intensity(
            g_per_kwh=float(config.intensity_g_per_kwh), source="carbon.intensity_g_per_kwh", kind="average"
        )
    )


def _open_country(config: Any) -> IntensitySource:
    country = find_country(config.country, key="carbon.country")
    return FixedIntensity(intensity=Intensity(g_per_kwh=country.g_per_kwh, source=country.provenance, kind="average"))


def _open_live(config: Any) -> IntensitySource:
    from overwinter.carbon.live import open_live  # urllib takes 30 ms, which other sources need not wait for

    return open_live(config, open_source)


def _open_trace(config: Any) -> IntensitySource:
    from overwinter.carbon.live import open_trace  # as above

    return open_trace(config, open_source)


_BUILT_IN: dict[str, Factory] = {
    "constant": _open_constant,
    "country": _open_country,
    "trace": _open_trace,
    "uk_grid": _open_live,
    "electricity_maps": _open_live,
    "watttime": _open_live,
}
