"""The dense model as a teacher: its outputs, each computed once, and the divergence of a student's from them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from overwinter.calibration.device_placement import CPU
from overwinter.calibration.precision import is_quick, quick

_KEPT_BYTES = 4 << 30  # of outputs, and at most a sixth of the memory; others are computed again
_ROWS = 32  # outputs compared at once, so that they stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The samples of one step.

    Attributes:
        which: index of the calibration tensor.
        samples: indices of the samples in it.
    """

    which: int
    samples: tuple[int, ...]


class Teacher:
    """Teacher that returns the dense outputs for draws; keeps outputs of repeated samples in the CPU's memory.

    Args:
        dense: module that outputs logits (..., classes), on the device.
        calibration: its inputs, (n, ...) each.
        draws: all draws, in order.
        device: device that computes.
    """

    def __init__(
        self, dense: nn.Module, calibration: Sequence[torch.Tensor], draws: Sequence[Draw], device: str = CPU
    ) -> None:
        self._dense, self._calibration, self._device = dense, calibration, device
        self._to_come = Counter((draw.which, sample) for draw in draws for sample in draw.samples)
        self._kept: dict[tuple[int, int], torch.Tensor] = {}
        self._room = min(_KEPT_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 6)

    def lesson(self, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the samples and the dense model's logits, on the device."""
        batch = self._calibration[draw.which][list(draw.samples)].to(self._device)
        keys = [(draw.which, sample) for sample in draw.samples]
        self._to_come.subtract(keys)
        if all(key in self._kept for key in keys):
            return batch, torch.stack([self._remembered(key) for key in keys]).to(self._device)
        with torch.no_grad(), quick(batch.device):
            outputs = self._dense(batch)
        outputs = (
            outputs.bfloat16() if is_quick(batch.device) else outputs
        )  # no precision is lost: it was computed in bfloat16
        for key, output in zip(keys, outputs, strict=True):
            self._remember(key, output)
        return batch, outputs

    def _remember(self, key: tuple[int, int], output: torch.Tensor) -> None:
        if self._to_come[key] and key not in self._kept and output.nbytes <= self._room:
            self._kept[key] = output.to(CPU, copy=True)
            self._room -= output.nbytes

    def _remembered(self, key: tuple[int, int]) -> torch.Tensor:
        output = self._kept[key]
        if not self._to_come[key]:
            self._room += self._kept.pop(key).nbytes
        return output


def divergence(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean Kullback-Leibler divergence, in nats, of logits (..., classes) from the wanted ones."""
    loss: torch.Tensor = _Divergence.apply(outputs.flatten(0, -2), wanted.flatten(0, -2))  # type: ignore[no-untyped-call]
    return loss


class _Divergence(torch.autograd.Function):
    """Divergence with its derivative, the difference of the two distributions, from one pass over the logits."""

    @staticmethod
    def forward(ctx: Any, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        slope = torch.empty_like(outputs)  # (rows, classes)
        total = torch.zeros((), device=outputs.device)
        for begin in range(0, len(outputs), _ROWS):
            part = slice(begin, begin + _ROWS)
            found, sought = (each[part].float().log_softmax(1) for each in (outputs, wanted))
            odds = sought.exp()
            total += (odds * (sought - found)).sum()
            slope[part] = found.exp_().sub_(odds)
        ctx.save_for_backward(slope)
        return total / len(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope.mul_(gradients[0] / len(slope)), None  # in place: it is large, and used once
