"""Recovery end to end: the kept weights of a sparse model are distilled from the dense model, its masks held.

The loss is the divergence of the whole model's outputs from the dense model's (Hinton, Vinyals and Dean, 2015), so no
targets are needed: any text will do for a language model, also what the dense one writes itself. A step computes in
bfloat16 where that is fast; the weights, which move by little at a time, stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.calibration.following import BETAS, AdamFit, draw_batches, follow
from overwinter.calibration.precision import in_quick_type
from overwinter.calibration.teacher import Teacher
from overwinter.inputs import TensorInputs
from overwinter.progress import Progress, silent
from overwinter.sparsity.masks import HeldMasks
from overwinter.tasks import Task


def distill_weights(
    model: nn.Module,
    dense: nn.Module,
    calibration: Sequence[TensorInputs],
    masks: HeldMasks,
    fit: AdamFit,
    progress: Progress = silent,
    *,
    task: Task,
    device: str = CPU,
) -> list[float]:
    """Fit the kept weights of the masked layers in place; return the task's divergence at each step.

    Beside both models, memory holds the gradients and Adam's two means of these layers' weights, and one batch.

    Args:
        model: sparse, on the CPU, in evaluation mode; its other parameters stay as they are.
        dense: what it was made from.
        calibration: batches of model inputs (n, ...), one for each shape of sample; a step draws from one of them.
        masks: of the model's layers.
        fit: how long and how fast.
        progress: called with the steps done and their number.
        task: what the outputs are, and how far they are from the dense model's.
        device: that computes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: no calibration samples.
        OverwinterError: the divergence became NaN or infinite.
    """
    draws = draw_batches(calibration, fit)
    with offloaded(model, device), offloaded(dense, device):
        place = torch.device(device)
        followed = in_quick_type(dense, place) if task.generates else dense
        student = _Student(model, masks.weights, place) if task.generates else model
        teacher = Teacher(followed, calibration, draws, task, device)
        adam = torch.optim.Adam(masks.weights.values(), lr=fit.learning_rate, betas=BETAS, fused=True)
        return follow(
            student, teacher, draws, adam, task=task, key="sparsify.recovery", hooks=[masks], progress=progress
        )


class _Student:
    """A language model that computes in bfloat16 throughout, where that is fast, with weights that stay in float32.

    The weights are cast once a pass, which costs less than casting them and all inputs layer by layer.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, torch.Tensor], device: torch.device) -> None:
        self._model = in_quick_type(model, device).requires_grad_(requires_grad=False)
        self._weights = {f"{name}.weight": weight for name, weight in weights.items()}

    def __call__(self, inputs: Any) -> torch.Tensor:
        """Return the outputs for a batch; differentiable in the weights."""
        kind = self._model.get_parameter(next(iter(self._weights))).dtype
        cast = {name: weight.to(kind) for name, weight in self._weights.items()}
        outputs: torch.Tensor = functional_call(self._model, cast, (inputs,))
        return outputs
