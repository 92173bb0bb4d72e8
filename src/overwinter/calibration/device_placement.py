"""Placement of modules that are stored in the CPU's memory and compute on a device: as a whole, or block by block.

This quantizes models that are mapped from a file or larger than a GPU's memory: a block's weights are copied to the
device, and the results are copied back. On the CPU nothing is moved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

CPU = "cpu"


@contextlib.contextmanager
def offloaded(module: nn.Module, device: str, *, without: Collection[nn.Module] = ()) -> Iterator[None]:
    """Move a module's tensors to a device within the context.

    Afterwards its parameters are the same memory as before, with the new values of those that were changed in place;
    its buffers, and all tensors of layers inserted meanwhile, are moved back.

    Args:
        module: module on the CPU.
        device: `cpu`, `cuda` or `cuda:N`.
        without: submodules that are not moved.
    """
    if device == CPU:
        yield
        return
    original = {
        id(each): (each, each.data) for part in _parts(module, without) for each in part.parameters(recurse=False)
    }
    try:
        for parameter, data in original.values():
            parameter.data = data.to(device)
        versions = {key: parameter._version for key, (parameter, _) in original.items()}
        _move_buffers(module, device, without)
        yield
        for key, (parameter, data) in original.items():
            if parameter._version != versions[key]:
                data.copy_(parameter.data)
    finally:
        for part in _parts(module, without):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data if id(parameter) in original else parameter.data.to(CPU)
        for parameter, data in original.values():
            parameter.data = data
        _move_buffers(module, CPU, without)


@contextlib.contextmanager
def streamed(model: nn.Module, blocks: Collection[nn.Module], device: str) -> Iterator[None]:
    """Let a model compute on a device that holds everything but its blocks, and each block only during its call."""
    if device == CPU:
        yield
        return
    current = contextlib.ExitStack()

    def enter(block: nn.Module, _inputs: Any) -> None:
        current.enter_context(offloaded(block, device))

    def leave(_block: nn.Module, _inputs: Any, _output: Any) -> None:
        current.close()

    with offloaded(model, device, without=blocks), contextlib.ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.register_forward_pre_hook(enter).remove)
            hooks.callback(block.register_forward_hook(leave, always_call=True).remove)  # also on failure
        yield


def moved(value: Any, device: torch.device | str) -> Any:
    """Return a value with its tensors, also in tuples, lists and dictionaries, moved to a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(moved(each, device) for each in value)
    return {key: moved(each, device) for key, each in value.items()} if type(value) is dict else value


def _parts(module: nn.Module, without: Collection[nn.Module]) -> list[nn.Module]:
    left = {id(part) for each in without for part in each.modules()}
    return [part for part in module.modules() if id(part) not in left]


def _move_buffers(module: nn.Module, device: str, without: Collection[nn.Module]) -> None:
    arrived: dict[int, torch.Tensor] = {}  # a buffer with two names stays one
    for part in _parts(module, without):
        for name, buffer in list(part.named_buffers(recurse=False)):
            part._buffers[name] = arrived.setdefault(id(buffer), buffer.to(device))
