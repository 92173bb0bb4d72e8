"""Recovery end to end: the kept weights of a sparse model are distilled from the dense model, its masks held.

The loss is the divergence of the whole model's outputs from the dense model's (Hinton, Vinyals and Dean, 2015), so no
targets are needed: any text will do for a language model, also what the dense one writes itself. A step computes in
bfloat16 where that is fast; the weights, which move by little at a time, stay in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.calibration.following import BETAS, AdamFit, draw_batches, follow
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
    weights = list(masks.weights.values())
    draws = draw_batches(calibration, fit)
    with offloaded(model, device), offloaded(dense, device):
        teacher = Teacher(dense, calibration, draws, task, device)
        adam = torch.optim.Adam(weights, lr=fit.learning_rate, betas=BETAS, fused=True)
        return follow(model, teacher, draws, adam, task=task, key="sparsify.recovery", hooks=[masks], progress=progress)
