"""From ``sparsify.method`` to a sparsifier."""

from __future__ import annotations

from typing import Any

from overwinter.config.groups import SparsifyConfig
from overwinter.plugins import Registry
from overwinter.sparsity.protocol import Sparsifier

SPARSIFIERS: Registry[Any] = Registry(
    group="overwinter.sparsifiers",
    key="sparsify.method",
    built_in={
        "channels": "overwinter.sparsity.channels:Channels",
        "magnitude": "overwinter.sparsity.magnitude:Magnitude",
        "none": "overwinter.sparsity.nothing:Nothing",
    },
)


def open_sparsifier(config: SparsifyConfig) -> Sparsifier:
    """Make the sparsifier that ``config.method`` names, built in or an entry point's, from its configuration.

    Raises:
        ConfigError: nobody offers it.
    """
    sparsifier: Sparsifier = SPARSIFIERS.find(config.method)(config)
    return sparsifier
