"""Building a module from the configuration's ``model`` or from a saved model's description."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.config import instantiate
from overwinter.config.targets import MODEL, is_trusted
from overwinter.errors import IntegrityError, TargetError
from overwinter.models.adapting import adapt
from overwinter.models.bounds import bounded
from overwinter.models.description import DESCRIPTION, are_own, stored_bytes

# What a class raises if its arguments are other than it expects.
_OF_ARGUMENTS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_SHOWN = 40  # letters of an argument


def build_model(
    config_model: Mapping[str, Any], *, output: str | int | None = None, trusted: Sequence[str], seed: int = 0
) -> nn.Module:
    """Create the module that ``_target_`` names, with the other keys as its arguments, freshly initialised.

    It takes a batch as the data gives it and returns one tensor; see `overwinter.models.adapting`.

    Args:
        config_model: for example ``{"_target_": "overwinter.models.ConvNet", "classes": 10, ...}``.
        output: which output of forward() counts (``task.output``); None: see `adapt`.
        trusted: packages whose classes and functions ``_target_`` may name, besides overwinter's and torch.nn's.
        seed: seed of the initial weights; the global generator is not changed.

    Raises:
        ConfigError: the target is not trusted, does not exist, takes other arguments, or is not a module.
    """
    return adapt(_built(config_model, trusted, seed=seed, functions=True), output)


def rebuild_model(description: Mapping[str, Any], *, trusted: Sequence[str]) -> nn.Module:
    """Create the module that a saved model names; outside of `own_models` it is treated as untrusted.

    Then functions are not called, and an untrusted target may take no more memory than its weights account for.

    Args:
        description: the saved model's ``model.json``.
        trusted: packages whose classes it may name, besides overwinter's and torch.nn's.

    Raises:
        ConfigError: as `build_model`.
        IntegrityError: it would take too much memory, or its class does not take the values of the saved arguments.
    """
    node = description["model"]
    foreign = not are_own() and not is_trusted(str(node.get("_target_")), trusted)
    within = bounded(node, stored_bytes(description), len(description["tensors"]))
    try:
        with within if foreign else contextlib.nullcontext():
            return adapt(_built(node, trusted, seed=0, functions=are_own()), description.get("output"))
    except _OF_ARGUMENTS as error:
        given = ", ".join(f"model.{key}={repr(value)[:_SHOWN]}" for key, value in node.items() if key != "_target_")
        raise IntegrityError(
            f"{DESCRIPTION} names {node.get('_target_')}, which cannot be built with {given or 'no arguments'}: "
            f"{type(error).__name__}: {error}. Run the stage that makes this model again (`dvc repro`)."
        ) from error


def _built(node: Mapping[str, Any], trusted: Sequence[str], *, seed: int, functions: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = instantiate(node, MODEL, is_module, trusted=trusted, functions=functions)
    if not isinstance(model, nn.Module):
        raise TargetError(
            f"model._target_={node['_target_']} made a {type(model).__name__}, not a torch.nn.Module. "
            "Name a class that derives from torch.nn.Module."
        )
    return model


def is_module(found: type) -> bool:
    """Return whether a class derives from torch.nn.Module."""
    return issubclass(found, nn.Module)
