"""Passes that need no more than bfloat16's precision, where the device multiplies in it."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def is_quick(device: torch.device) -> bool:
    """Return whether the device multiplies in bfloat16; a processor without it would emulate it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def quick(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Multiply in bfloat16 where that is quick; elsewhere as the tensors are."""
    return torch.autocast(device.type, torch.bfloat16) if is_quick(device) else contextlib.nullcontext()
