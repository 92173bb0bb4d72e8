"""A module's state without repetitions."""

from __future__ import annotations

import torch
from torch import nn


def unique_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return name -> parameter or buffer, not copied; what has two names only under its first."""
    unique: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor.detach()
    return unique
