"""The base class of a plug-in's settings, and the lookup of the settings class for a configuration group."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from overwinter.errors import ConfigError
from overwinter.plugins import Registry


@dataclass
class PluginConfig(ABC):
    """The settings of a plug-in: each field, a `setting`, is a key in YAML; `open` makes the plug-in.

    The module that defines them is imported whenever a configuration is read, so import heavy packages (torch, numpy)
    inside `open`.
    """

    @abstractmethod
    def open(self) -> Any:
        """Make the plug-in."""

    def check(self, key: str) -> None:  # noqa: B027  most settings need no more
        """Check constraints that the fields' types and `setting`s cannot express.

        Args:
            key: The configuration key of these settings, for the message.

        Raises:
            ConfigError: the first invalid value, with its key.
        """


def plugin_schema(registry: Registry[Any]) -> Callable[[Mapping[str, Any]], type[Any]]:
    """Return a function from a group's values to the settings class of the plug-in they name (`power.policy`)."""

    def schema_of(group: Mapping[str, Any]) -> type[Any]:
        name = str(group.get(registry.key.rpartition(".")[2]))
        schema = registry.find(name)
        if not (isinstance(schema, type) and issubclass(schema, PluginConfig) and is_dataclass(schema)):
            raise ConfigError(
                f"{registry.key}={name!r} is registered as {schema!r}, which is not a dataclass derived from "
                f"PluginConfig.\nFix or remove the package that registers it in {registry.group}."
            )
        return schema

    return schema_of


def lazy_schema(path: str) -> Callable[[Mapping[str, Any]], type[Any]]:
    """Return a function that calls `module:function` for a group's schema, and imports the module only then."""

    def schema_of(group: Mapping[str, Any]) -> type[Any]:
        module, function = path.split(":")
        schema: type[Any] = getattr(importlib.import_module(module), function)(group)
        return schema

    return schema_of
