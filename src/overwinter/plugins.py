"""Registries of plug-ins by name: built-in objects, and entry points of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from overwinter.errors import ConfigError, nearest

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Registry(Generic[T]):
    """Plug-ins of one kind by name.

    A built-in one is imported on first use, and found without scanning the metadata of every installed package: a
    process that wakes a model has no time for either.

    Attributes:
        group: entry-point group through which other packages add theirs, such as `overwinter.sparsifiers`.
        key: configuration key that selects one, for error messages, such as `sparsify.method`.
        built_in: name -> `module:attribute`. Other packages cannot override a built-in name.
    """

    group: str
    key: str
    built_in: Mapping[str, str]

    def find(self, name: str) -> T:
        """Import and return the plug-in of that name.

        Raises:
            ConfigError: the name is unknown, or its package cannot be imported.
        """
        if name in self.built_in:
            module, attribute = self.built_in[name].split(":")
            return cast(T, getattr(importlib.import_module(module), attribute))
        added = self._added()
        if name not in added:
            raise self._unknown(name)
        try:
            return cast(T, added[name].load())
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.key}={name!r} refers to {added[name].value}, which cannot be loaded: {error}.\n"
                "Fix or remove the package that provides it."
            ) from error

    def check(self, name: str) -> None:
        """Check that ``name`` is known, without importing it.

        Raises:
            ConfigError: the name is unknown.
        """
        if name not in self.built_in and name not in self._added():
            raise self._unknown(name)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted({*self.built_in, *self._added()})

    def _unknown(self, name: str) -> ConfigError:
        known = self.names()
        return ConfigError(f"{self.key}={name!r} is unknown. Known: {', '.join(known)}.{nearest(name, known)}")

    def _added(self) -> dict[str, Any]:
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=self.group)}
