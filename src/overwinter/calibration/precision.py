"""Use of bfloat16, on devices that support it, for passes that need no more precision."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from overwinter.models import twin


def is_quick(device: torch.device) -> bool:
    """Return whether the device multiplies in bfloat16; a processor without support emulates it slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def quick(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Multiply in bfloat16, within the context, if that is fast; otherwise in the tensors' type."""
    return torch.autocast(device.type, torch.bfloat16) if is_quick(device) else contextlib.nullcontext()


def in_quick_type(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a module in bfloat16 throughout on a device, if that is fast there; otherwise in its own type."""
    return twin(model).to(device, torch.bfloat16 if is_quick(device) else None)
