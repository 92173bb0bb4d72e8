"""What a module remembers outside of its ``state_dict()``, and so forgets when it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

_REMEDIES = {
    "tensor": "Register it in __init__ with self.register_buffer().",
    "number": "Register it in __init__ as a tensor, with self.register_buffer().",
    "buffer": "Register it without persistent=False.",
    "module": "Keep layers in a torch.nn.ModuleList or ModuleDict.",
}
_TORCHS_OWN = frozenset(vars(nn.Module()))


def lost_state(trained: nn.Module, loaded: nn.Module) -> str:
    """Return in words what differs between a model and its loaded twin although their ``state_dict()`` is the same.

    Args:
        trained: the model that was saved.
        loaded: the one that it was loaded into.
    """
    found = sorted(_differences(trained, loaded), key=lambda each: each[1] == "number")  # which often only count
    name, kind = found[0] if found else ("something that forward() uses", "tensor")
    return f"{name} is not saved with it. {_REMEDIES[kind]}"


def _differences(trained: nn.Module, loaded: nn.Module) -> Iterator[tuple[str, str]]:
    twins = dict(loaded.named_modules())
    for path, module in trained.named_modules():
        there = {name: value for name, value, _ in _hidden(twins[path])} if path in twins else {}
        for name, value, kind in _hidden(module):
            if not _same(value, there.get(name)):
                yield f"{path}.{name}".lstrip(".") + f" of {type(module).__name__}", kind


def _hidden(module: nn.Module) -> Iterator[tuple[str, Any, str]]:
    """Yield name, value and kind of all that a module holds and does not save."""
    for name in sorted(module._non_persistent_buffers_set):
        yield name, module._buffers[name], "buffer"
    for name, value in vars(module).items():
        if name not in _TORCHS_OWN:
            yield from _held(name, value)


def _held(name: str, value: Any) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, torch.Tensor | np.ndarray):
        yield name, value, "tensor"
    elif isinstance(value, int | float):
        yield name, value, "number"
    elif isinstance(value, nn.Module):  # in a plain list: registered ones are not among the attributes
        for inner, tensor in value.state_dict().items():
            yield f"{name}.{inner}", tensor, "module"
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _held(f"{name}[{key!r}]", each)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _held(f"{name}[{place}]", each)


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    ours, theirs = torch.as_tensor(first).detach().cpu(), torch.as_tensor(second).detach().cpu()
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if ours.is_floating_point():  # what both computed from the same inputs may differ in the last bits
        return torch.allclose(ours, theirs, equal_nan=True)
    return torch.equal(ours, theirs)
