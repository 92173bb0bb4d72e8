"""The dense model as a teacher: its outputs, each computed once, and the divergence of a student's from them.

How far two outputs are apart is the task's to say. Where outputs are logits of classes that exclude each other, the
divergence is computed here, with its derivative written out: the same number in a third of the time.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from overwinter.calibration.device_placement import CPU
from overwinter.calibration.precision import is_quick, quick
from overwinter.inputs import TensorInputs, move, take
from overwinter.tasks import Task

_KEPT_BYTES = 4 << 30  # of outputs, and at most a sixth of the memory; others are computed again
_ROWS = 32  # outputs compared at once, so that they stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The samples of one step.

    Attributes:
        which: index of the calibration batch.
        samples: indices of the samples in it.
    """

    which: int
    samples: tuple[int, ...]


class Teacher:
    """Teacher that returns the dense outputs for draws; keeps outputs of repeated samples in the CPU's memory.

    Args:
        dense: module on the device.
        calibration: batches of its inputs, (n, ...) each.
        draws: all draws, in order.
        task: what the outputs are.
        device: device that computes.
    """

    def __init__(
        self,
        dense: nn.Module,
        calibration: Sequence[TensorInputs],
        draws: Sequence[Draw],
        task: Task,
        device: str = CPU,
    ) -> None:
        self._dense, self._calibration, self._task, self._device = dense, calibration, task, torch.device(device)
        self._to_come = Counter((draw.which, sample) for draw in draws for sample in draw.samples)
        self._kept: dict[tuple[int, int], torch.Tensor] = {}
        self._room = min(_KEPT_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 6)

    def lesson(self, draw: Draw) -> tuple[Any, torch.Tensor]:
        """Return the samples and the dense model's outputs, on the device."""
        batch = move(take(self._calibration[draw.which], list(draw.samples)), self._device)
        keys = [(draw.which, sample) for sample in draw.samples]
        self._to_come.subtract(keys)
        if all(key in self._kept for key in keys):
            return batch, torch.stack([self._remembered(key) for key in keys]).to(self._device)
        with torch.no_grad(), quick_enough(self._task, self._device):
            outputs = self._dense(batch)
        if _is_quick_enough(self._task, self._device):
            outputs = outputs.bfloat16()  # no precision is lost: it was computed in bfloat16
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


def divergence(task: Task, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence of outputs (n, ...) from the wanted ones, in the task's unit; differentiable."""
    if task.class_axis is None:
        return task.divergence(outputs.float(), wanted.float()).mean()
    found, sought = (each.movedim(task.class_axis, -1).flatten(0, -2) for each in (outputs, wanted))
    loss: torch.Tensor = _Divergence.apply(found, sought)  # type: ignore[no-untyped-call]
    return loss


def quick_enough(task: Task, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Multiply in bfloat16, within the context, if that is fast and the outputs are logits: numbers need more."""
    return quick(device) if _is_quick_enough(task, device) else contextlib.nullcontext()


def _is_quick_enough(task: Task, device: torch.device) -> bool:
    return task.class_axis is not None and is_quick(device)


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
