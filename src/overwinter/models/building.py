"""From the configuration's ``model`` to a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.config import instantiate
from overwinter.errors import ConfigError


def build_model(config_model: Mapping[str, Any], *, trusted: Sequence[str], seed: int = 0) -> nn.Module:
    """Make the module that ``_target_`` names, with the other keys as its arguments, freshly initialised.

    Args:
        config_model: for instance ``{"_target_": "overwinter.models.ConvNet", "classes": 10, ...}``.
        trusted: prefixes that ``_target_`` may have beside ``overwinter.`` and ``torch.``.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        ConfigError: the target is not trusted, does not exist, takes other arguments, or is no module.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = instantiate(config_model, trusted=trusted)
    if not isinstance(model, nn.Module):
        target = config_model.get("_target_")
        raise ConfigError(
            f"model._target_={target} made a {type(model).__name__}, not a torch.nn.Module. "
            "Name a class that derives from torch.nn.Module."
        )
    return model
