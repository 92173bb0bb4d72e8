"""From ``sparsify.method`` to a sparsifier."""

from __future__ import annotations

from overwinter.config.groups import SparsifyConfig
from overwinter.registries import SPARSIFIERS
from overwinter.sparsity.protocol import Sparsifier


def open_sparsifier(config: SparsifyConfig) -> Sparsifier:
    """Make the sparsifier that ``config.method`` names, built in or an entry point's, from its configuration.

    Raises:
        ConfigError: nobody offers it.
    """
    sparsifier: Sparsifier = SPARSIFIERS.find(config.method)(config)
    return sparsifier
