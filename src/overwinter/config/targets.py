"""The only place that turns a `_target_` into an object.

Hydra's own `instantiate` calls whatever it is given; published remote code executions came through it. Here a
target must start with an allowed prefix, be a class or a plain function, and be reached through modules only.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.errors import ConfigError, nearest

_OWN_PREFIXES = ("overwinter.", "torch.")


def instantiate(node: Mapping[str, Any], *, trusted: Sequence[str] = (), **extra: Any) -> Any:
    """Call ``node["_target_"]`` with the node's other keys.

    Args:
        node: `_target_` (dotted path of a class or function) and its keyword arguments.
        trusted: prefixes allowed beside `overwinter.` and `torch.`, from `trusted_targets`.
        extra: further keyword arguments, for instance an input shape.

    Raises:
        ConfigError: the target is missing, not allowed, not found, or does not take these arguments.
    """
    target = trusted_target(node, trusted=trusted)
    factory = _locate(target)
    arguments = {key: value for key, value in node.items() if key != "_target_"} | extra
    _refuse_misfit(target, factory, arguments)
    return factory(**arguments)


def trusted_target(node: Mapping[str, Any], *, trusted: Sequence[str], key: str = "") -> str:
    """Return the node's `_target_`, without importing anything.

    Args:
        node: with `_target_`.
        trusted: as for `instantiate`.
        key: of the node, for the message.

    Raises:
        ConfigError: it is missing, or not allowed.
    """
    target = node.get("_target_")
    if not isinstance(target, str) or not target:
        raise ConfigError(f"{key}._target_ is missing. Name a class, such as _target_: my_package.Net.".lstrip("."))
    prefixes = [*_OWN_PREFIXES, *(prefix.rstrip(".") + "." for prefix in trusted)]
    if not target.startswith(tuple(prefixes)):
        package = target.split(".", 1)[0]
        where = f"{key}._target_" if key else "_target_"
        raise ConfigError(
            f"{where}={target!r} is not trusted: it must start with one of {', '.join(prefixes)}\n"
            f"If the code is yours, add its package: trusted_targets=[{package}]"
        )
    return target


def _locate(target: str) -> Any:
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the user's module exists, and needs something that is not installed
        raise ConfigError(
            f"_target_={target!r}: there is no module {error.name!r}.\n"
            "Is your package installed, or its folder in PYTHONPATH?"
        ) from None
    public = [known for known in vars(module) if not known.startswith("_")]
    factory = getattr(module, name, None)
    if factory is None:
        raise ConfigError(f"_target_={target!r}: {module_name} has no {name!r}.{nearest(name, public)}")
    if not (inspect.isclass(factory) or inspect.isfunction(factory)):
        raise ConfigError(f"_target_={target!r} is a {type(factory).__name__}, not a class or a function.")
    return factory


def _refuse_misfit(target: str, factory: Any, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(factory)
    except ValueError:
        raise ConfigError(
            f"_target_={target!r} is built in and does not say what it takes. Wrap it in a class."
        ) from None
    try:
        signature.bind(**arguments)
    except TypeError as error:
        known = ", ".join(signature.parameters)
        raise ConfigError(f"_target_={target!r}: {error}. It takes: {known}.") from None
