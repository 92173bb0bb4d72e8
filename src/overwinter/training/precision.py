"""The number format in which a fit multiplies: bfloat16 or float32."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from overwinter.calibration.precision import is_quick
from overwinter.errors import ConfigError


def check_precision(asked: str, device: torch.device, *, key: str = "train") -> None:
    """Refuse bfloat16 that the device would have to emulate.

    Raises:
        ConfigError: it has no instructions for it.
    """
    if asked == "bf16" and not is_quick(device):
        raise ConfigError(
            f"{key}.precision=bf16, and this {device.type} computes in bfloat16 by emulation only (a CPU needs "
            "avx512_bf16 or amx_bf16), which takes longer than fp32. Set it to native or fp32."
        )


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a forward pass runs.

    Args:
        device: where it runs.
        precision: as in `in_bf16`.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16) if in_bf16(device, precision) else contextlib.nullcontext()


def in_bf16(device: torch.device, precision: str) -> bool:
    """Return whether a fit multiplies in bfloat16.

    Args:
        device: where it runs.
        precision: ``auto`` is bf16 on an accelerator that multiplies in it, and fp32 elsewhere; ``native`` is bf16 on
            a CPU that does, too; ``bf16``; ``fp32``.
    """
    return precision == "bf16" or (is_quick(device) and (precision == "native" or _is_accelerated(device, precision)))


def _is_accelerated(device: torch.device, precision: str) -> bool:
    return precision == "auto" and device.type != "cpu"
