"""The sources by name: built in, or entry points in `overwinter.intensity_sources`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from overwinter.carbon.intensity import IntensitySource
from overwinter.plugins import Registry

SOURCES: Registry[Callable[[Any], IntensitySource]] = Registry(
    group="overwinter.intensity_sources",
    key="carbon.source",
    built_in={
        "constant": "overwinter.carbon.constant:open_constant",
        "country": "overwinter.carbon.country:open_country",
        "electricity_maps": "overwinter.carbon.live:open_live",
        "trace": "overwinter.carbon.live:open_trace",
        "uk_grid": "overwinter.carbon.live:open_live",
        "watttime": "overwinter.carbon.live:open_live",
    },
)


def open_source(config: Any) -> IntensitySource:
    """Open the source that the group `carbon/` names.

    Args:
        config: the group, in the schema of the picked option.

    Raises:
        ConfigError: an unknown source or country.
    """
    return SOURCES.find(config.source)(config)
