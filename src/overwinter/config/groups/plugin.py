"""What a plug-in registers: the dataclass of its settings, which makes it."""

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
    """The settings of a plug-in: the fields, each a `setting`, are its keys in YAML; `open` makes the plug-in.

    The module of the settings is imported whenever a configuration is read: what is heavy (torch, numpy) is imported
    by `open`.
    """

    @abstractmethod
    def open(self) -> Any:
        """Make the plug-in."""

    def check(self, key: str) -> None:  # noqa: B027  most settings need no more
        """Refuse what neither the type nor the `setting` of a field can say.

        Args:
            key: where the settings stand, for the message.

        Raises:
            ConfigError: the first value that cannot be used, with its key.
        """


def plugin_schema(registry: Registry[Any]) -> Callable[[Mapping[str, Any]], type[Any]]:
    """Return what finds the settings of the plug-in that a group names, such as those of `power.policy`."""

    def schema_of(group: Mapping[str, Any]) -> type[Any]:
        name = str(group.get(registry.key.rpartition(".")[2]))
        schema = registry.find(name)
        if not (isinstance(schema, type) and issubclass(schema, PluginConfig) and is_dataclass(schema)):
            raise ConfigError(
                f"{registry.key}={name!r} stands for {schema!r}, which is no dataclass of settings (PluginConfig).\n"
                f"Fix or remove the package that offers it in {registry.group}."
            )
        return schema

    return schema_of


def room_schema(path: str) -> Callable[[Mapping[str, Any]], type[Any]]:
    """Return what asks the room of a group for the group's schema, by `module:function`, imported when it is asked."""

    def schema_of(group: Mapping[str, Any]) -> type[Any]:
        module, function = path.split(":")
        schema: type[Any] = getattr(importlib.import_module(module), function)(group)
        return schema

    return schema_of
