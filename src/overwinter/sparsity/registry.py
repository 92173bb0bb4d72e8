"""From ``sparsify.method`` to a sparsifier."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, cast

from overwinter.config.groups import SparsifyConfig
from overwinter.errors import ConfigError, nearest
from overwinter.sparsity.channels import Channels
from overwinter.sparsity.magnitude import Magnitude
from overwinter.sparsity.nothing import Nothing
from overwinter.sparsity.protocol import Sparsifier

GROUP = "overwinter.sparsifiers"
_BUILT_IN: dict[str, Any] = {"channels": Channels, "magnitude": Magnitude, "none": Nothing}


def open_sparsifier(config: SparsifyConfig) -> Sparsifier:
    """Make the sparsifier that ``config.method`` names, built in or an entry point's, from its configuration.

    Raises:
        ConfigError: nobody offers it.
    """
    added = {point.name: point for point in entry_points(group=GROUP)}
    if config.method in _BUILT_IN:
        return cast(Sparsifier, _BUILT_IN[config.method](config))
    if config.method in added:
        return cast(Sparsifier, added[config.method].load()(config))
    known = sorted({*_BUILT_IN, *added})
    raise ConfigError(
        f"sparsify.method={config.method!r} is unknown. Known: {', '.join(known)}.{nearest(config.method, known)}"
    )
