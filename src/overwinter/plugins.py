"""What a name in the configuration stands for: something built in, or an entry point of another package."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from overwinter.errors import ConfigError, nearest

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Registry(Generic[T]):
    """Things of one kind by name.

    A built-in one is imported when it is asked for, and found without scanning the metadata of every installed
    package: a process that wakes a model has no time for either.

    Attributes:
        group: of entry points by which other packages add theirs, such as `overwinter.sparsifiers`.
        key: what the name is called in messages, such as `sparsify.method`.
        built_in: name -> `module:attribute`. A built-in name cannot be taken by another package.
    """

    group: str
    key: str
    built_in: Mapping[str, str]

    def find(self, name: str) -> T:
        """Return what ``name`` stands for.

        Raises:
            ConfigError: no one offers it, or the package that does cannot be imported.
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
                f"{self.key}={name!r} stands for {added[name].value}, which cannot be loaded: {error}.\n"
                "Fix or remove the package that offers it."
            ) from error

    def check(self, name: str) -> None:
        """Check that some package offers ``name``, without importing it.

        Raises:
            ConfigError: none does.
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
