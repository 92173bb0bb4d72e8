"""The state of an optimizer for a checkpoint: tensors for safetensors, and the rest as JSON, never pickle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from overwinter.errors import ConfigError

_PLAIN = (bool, int, float, str, type(None))


def split_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors by ``parameter.slot``, and as JSON the slots that are none and the options of the groups.

    Raises:
        ConfigError: a slot or an option is something that no checkpoint can hold.
    """
    whole = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, Any] = {}
    for index, slots in whole["state"].items():
        for slot, value in slots.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{slot}"] = value
            else:
                plain[f"{index}.{slot}"] = _checked(value, f"state {slot!r}", optimizer)
    groups = [
        {key: _checked(value, f"option {key!r}", optimizer) for key, value in group.items() if key != "params"}
        for group in whole["param_groups"]
    ]
    return tensors, {"slots": plain, "groups": groups}


def load_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]) -> None:
    """Put back what `split_state` returned."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Any]] = {index: {} for index in range(len(parameters))}
    for index, slot, value in _by_parameter({**plain["slots"], **tensors}):
        held = value if not isinstance(value, torch.Tensor) else laid_out_like(parameters[index], value)
        slots[index][slot] = held
    whole = optimizer.state_dict()
    for group, options in zip(whole["param_groups"], plain["groups"], strict=True):
        # JSON has no tuples.
        group |= {key: tuple(value) if isinstance(group.get(key), tuple) else value for key, value in options.items()}
    filled = {index: own for index, own in slots.items() if own}
    optimizer.load_state_dict({"state": filled, "param_groups": whole["param_groups"]})


def _by_parameter(values: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    for name, value in values.items():
        index, slot = name.split(".", 1)
        yield int(index), slot, value


def laid_out_like(known: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor in the memory layout of another one, and sharded as that is, if they have one shape."""
    if tensor.shape != known.shape:
        return tensor
    if hasattr(known, "device_mesh"):
        return _sharded_like(known, tensor)
    return torch.empty_like(known).copy_(tensor)


def _sharded_like(known: Any, tensor: torch.Tensor) -> torch.Tensor:
    """Return the share that this rank has of a tensor, which every rank has in full, so that none need send it."""
    from torch.distributed.tensor import distribute_tensor  # slow to import

    mesh = known.device_mesh
    return distribute_tensor(tensor.to(mesh.device_type), mesh, known.placements, src_data_rank=None)


def _checked(value: Any, what: str, optimizer: torch.optim.Optimizer) -> Any:
    if isinstance(value, tuple | list):
        return [_checked(each, what, optimizer) for each in value]
    if not isinstance(value, _PLAIN) or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(
            f"{type(optimizer).__name__} has the {what}, {value!r} ({type(value).__name__}), which a checkpoint cannot "
            "hold: it takes tensors, numbers and texts. Name another optimizer."
        )
    return value
