"""The sources by name: built in, or entry points in `overwinter.intensity_sources`."""

from __future__ import annotations

from typing import Any

from overwinter.carbon.intensity import IntensitySource
from overwinter.registries import INTENSITY_SOURCES


def open_source(config: Any) -> IntensitySource:
    """Open the source that the group `carbon/` names.

    Args:
        config: the group, in the schema of the picked option.

    Raises:
        ConfigError: an unknown source or country.
    """
    source: IntensitySource = INTENSITY_SOURCES.find(config.source)(config)
    return source
