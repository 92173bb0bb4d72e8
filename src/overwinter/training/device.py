"""Which device and memory layout a fit uses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.inputs import each, move, named, take

Layout = Callable[[Any], Any]

_IMAGES = 4  # dimensions: batch, channels, height, width
_TRIED = 8  # samples
_LAYOUT_TOLERANCE = 1e-2  # relative to the largest output: another order of sums, in TF32 at worst; a ruin is far above


def pick_device(name: str) -> torch.device:
    """Return the device that the setting ``device`` names: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device={name!r} is unknown. Allowed: auto, cpu, cuda, cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device={name!r}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use. "
            "Set device=auto or device=cpu."
        )
    return device


def fast_layout(inputs: Any) -> Any:
    """Return images (batch, channels, height, width) with their channels innermost; anything else as it is.

    Convolutions on a CPU take a fifth to a quarter less time in this layout, and tensor cores want it too.
    """
    return each(_channels_last, inputs)


def plain_layout(inputs: Any) -> Any:
    """Return inputs as they are, for models that cannot compute in `fast_layout`."""
    return inputs


def pick_layout(model: nn.Module, inputs: Any) -> Layout:
    """Return `fast_layout` if a model computes in it what it computes in the plain one, else `plain_layout`.

    A ``view()`` that expects the plain one fails in the other, forward or backward: so both are tried on a copy.

    Args:
        model: stays as it is.
        inputs: real samples (batch, ...), one tensor or several by name, on any device.
    """
    if all(value.dim() != _IMAGES for value in named(inputs).values()):
        return plain_layout
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    samples = move(_copied(take(inputs, slice(_TRIED))), device)
    try:
        with torch.inference_mode(mode=False), torch.random.fork_rng(devices=_gpus(device)):
            return fast_layout if _computes_alike(copy.deepcopy(model), samples) else plain_layout
    except Exception:  # noqa: BLE001 - whatever a model raises in this layout, or when copied: it may not in the other
        return plain_layout


def _computes_alike(model: nn.Module, samples: Any) -> bool:
    with torch.no_grad():
        model.eval()
        expected = model(_copied(samples))  # (batch, ...)
        found = laid_out(model)(fast_layout(_copied(samples)))
    with torch.enable_grad():
        outputs = model.train()(fast_layout(_copied(samples)))
        if outputs.requires_grad:
            torch.autograd.backward(outputs.float().square().mean())
    return bool((found - expected).abs().max() <= _LAYOUT_TOLERANCE * expected.abs().max())


def _copied(inputs: Any) -> Any:
    return each(torch.clone, inputs)


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == _IMAGES else tensor


def _gpus(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def laid_out(model: nn.Module) -> nn.Module:
    """Put a model's convolutions, in place, into the layout of `fast_layout`."""
    for parameter in model.parameters():
        parameter.data = _channels_last(parameter.data)
    return model
