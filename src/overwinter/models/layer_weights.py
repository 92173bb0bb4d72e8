"""Layers whose weight is more than an operand of their own call, so that nothing else can take its place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn

from overwinter.models.counting import PRUNABLE_LAYERS


def computed_weights(model: nn.Module) -> dict[str, str]:
    """Return name -> reason of every Linear and convolution whose weight is computed from other tensors."""
    return {
        name: "its weight is computed from other tensors, as by weight_norm or spectral_norm"
        for name, module in model.named_modules()
        if isinstance(module, PRUNABLE_LAYERS) and "weight" not in module._parameters
    }


def fixed_weights(model: nn.Module, example: torch.Tensor) -> dict[str, str]:
    """Return name -> reason of every Linear, convolution and embedding that must keep its weight as a plain tensor.

    Such a weight is computed, or read by code other than the layer's own, which one pass shows: the fast path of
    `torch.nn.TransformerEncoderLayer`, an output layer tied by ``linear(x, other.weight.t())``, a cosine head.

    Args:
        model: in evaluation mode; not changed.
        example: model inputs (batch, ...), on the model's device.
    """
    with _weight_readers() as readers, torch.inference_mode():
        model(example)
    return {
        name: f"its weight is read by other code ({readers[module]})"
        for name, module in model.named_modules()
        if module in readers
    } | computed_weights(model)


@contextmanager
def _weight_readers() -> Iterator[dict[nn.Module, str]]:
    """Collect, while open, the layers whose weight is read from outside of them, and where that is."""
    readers: dict[nn.Module, str] = {}
    original: Any = nn.Module.__getattr__

    def recording(module: nn.Module, name: str) -> Any:
        if name == "weight" and isinstance(module, (*PRUNABLE_LAYERS, nn.Embedding)):
            reader = _other_reader(sys._getframe(1), module)
            if reader is not None:
                readers.setdefault(module, reader)
        return original(module, name)

    nn.Module.__getattr__ = recording  # type: ignore[method-assign]  # put back below
    try:
        yield readers
    finally:
        nn.Module.__getattr__ = original  # type: ignore[method-assign]


def _other_reader(frame: FrameType | None, module: nn.Module) -> str | None:
    """Return the function that reads an attribute of a module, or None for its own ``forward()``."""
    while frame is not None and frame.f_locals.get("self") is module:
        if frame.f_code.co_name == "forward":
            return None
        frame = frame.f_back
    if frame is None:
        return None
    owner = frame.f_locals.get("self")
    return frame.f_code.co_name if owner is None else f"{type(owner).__name__}.{frame.f_code.co_name}"
