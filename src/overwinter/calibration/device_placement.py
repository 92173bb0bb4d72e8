"""Modules that live in the CPU's memory and compute on a device: moved to it whole, or block by block.

A model that is mapped from a file, or larger than a GPU's memory, is quantized so: a block's weights are copied to the
device, and what was made of them there comes back. On the CPU nothing is moved at all.
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
    """Have a module's tensors on a device while this is entered.

    Afterwards its parameters are what they were, in the very memory, since no one trains them here; its buffers, and
    all tensors of layers that were put in meanwhile, come back as they are then.

    Args:
        module: on the CPU.
        device: `cpu`, `cuda` or `cuda:N`.
        without: modules in it that stay where they are.
    """
    if device == CPU:
        yield
        return
    at_home = {
        id(each): (each, each.data) for part in _parts(module, without) for each in part.parameters(recurse=False)
    }
    try:
        for parameter, data in at_home.values():
            parameter.data = data.to(device)
        _move_buffers(module, device, without)
        yield
    finally:
        for part in _parts(module, without):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data if id(parameter) in at_home else parameter.data.to(CPU)
        for parameter, data in at_home.values():
            parameter.data = data
        _move_buffers(module, CPU, without)


@contextlib.contextmanager
def streamed(model: nn.Module, blocks: Collection[nn.Module], device: str) -> Iterator[None]:
    """Have a model compute on a device that holds what is around its blocks, and one block while that is called."""
    if device == CPU:
        yield
        return
    guest = contextlib.ExitStack()

    def enter(block: nn.Module, _inputs: Any) -> None:
        guest.enter_context(offloaded(block, device))

    def leave(_block: nn.Module, _inputs: Any, _output: Any) -> None:
        guest.close()

    with offloaded(model, device, without=blocks), contextlib.ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.register_forward_pre_hook(enter).remove)
            hooks.callback(block.register_forward_hook(leave, always_call=True).remove)  # also where it fails
        yield


def moved(value: Any, device: torch.device | str) -> Any:
    """Return a tensor, and those in tuples, lists and dictionaries, on a device; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(moved(each, device) for each in value)
    return {key: moved(each, device) for key, each in value.items()} if type(value) is dict else value


def _parts(module: nn.Module, without: Collection[nn.Module]) -> list[nn.Module]:
    left = {id(part) for each in without for part in each.modules()}
    return [part for part in module.modules() if id(part) not in left]


def _move_buffers(module: nn.Module, device: str, without: Collection[nn.Module]) -> None:
    arrived: dict[int, torch.Tensor] = {}  # one that stands under two names stays one
    for part in _parts(module, without):
        for name, buffer in list(part.named_buffers(recurse=False)):
            part._buffers[name] = arrived.setdefault(id(buffer), buffer.to(device))
