"""A model that follows the dense one: some of its tensors, fitted with Adam to the dense model's outputs.

What moves is the caller's: the scales of integer layers, or the weights that a sparse model has kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from overwinter.calibration.batches import count_samples
from overwinter.calibration.teacher import Draw, Teacher, divergence, quick_enough
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import TensorInputs, count
from overwinter.models import StepHook
from overwinter.progress import Progress, silent
from overwinter.tasks import Task

BETAS = (0.9, 0.95)
"""Adam's: a short fit cannot wait a thousand steps for the mean of the squared gradients."""


@dataclass(frozen=True, kw_only=True)
class AdamFit:
    """How long and how fast to fit.

    Attributes:
        steps: of Adam.
        learning_rate: the first; it falls to 0 along a cosine.
        batch_size: samples of a step.
        seed: of the order of the samples.
    """

    steps: int
    learning_rate: float
    batch_size: int
    seed: int = 0


def draw_batches(calibration: Sequence[TensorInputs], fit: AdamFit) -> list[Draw]:
    """Return one batch for each step: every sample once, in random order, then all over again.

    Raises:
        ConfigError: there are no samples.
    """
    if not count_samples(calibration):
        raise ConfigError("Recovery needs at least one calibration sample.")
    randomness = torch.Generator().manual_seed(fit.seed)
    drawn: list[Draw] = []
    while len(drawn) < fit.steps:
        round_: list[Draw] = []
        for which, samples in enumerate(calibration):
            order = torch.randperm(count(samples), generator=randomness)
            parts = torch.split(order, fit.batch_size) if len(order) else ()
            round_ += [Draw(which=which, samples=tuple(part.tolist())) for part in parts]
        drawn += [round_[index] for index in torch.randperm(len(round_), generator=randomness).tolist()]
    return drawn[: fit.steps]


def follow(
    model: Callable[[Any], torch.Tensor],
    teacher: Teacher,
    draws: Sequence[Draw],
    optimizer: torch.optim.Optimizer,
    *,
    task: Task,
    key: str,
    hooks: Sequence[StepHook] = (),
    progress: Progress = silent,
) -> list[float]:
    """Move an optimizer's tensors so that a model gives the dense one's outputs; return the divergence at each step.

    The multiplications are in bfloat16 where that is fast and the outputs are logits; what moves stays as precise as
    it is.

    Args:
        model: on the teacher's device.
        teacher: gives the samples and the dense model's outputs of each draw.
        draws: one for each step.
        optimizer: as in `descend`, and so are the others.
        task: says how far outputs are apart.
        key: as in `descend`.
        hooks: as in `descend`.
        progress: as in `descend`.

    Raises:
        OverwinterError: the divergence became NaN or infinite.
    """

    def divergence_at(step: int) -> torch.Tensor:
        batch, wanted = teacher.lesson(draws[step])
        with quick_enough(task, wanted.device):
            outputs = model(batch)
        return divergence(task, outputs, wanted)

    return descend(divergence_at, optimizer, len(draws), key=key, hooks=hooks, progress=progress)


def descend(
    loss_at: Callable[[int], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    key: str,
    hooks: Sequence[StepHook] = (),
    progress: Progress = silent,
) -> list[float]:
    """Move an optimizer's tensors down a loss, the learning rates falling to 0 along a cosine; return the losses.

    Args:
        loss_at: step, from 0 -> the loss, differentiable.
        optimizer: of the tensors that move; no other tensor gets a gradient.
        steps: how many.
        key: of the settings that an error names.
        hooks: called around every step.
        progress: called with the steps done and their number.

    Raises:
        OverwinterError: the loss became NaN or infinite; what moved is as it was before that step.
    """
    moving = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    fall = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    losses: list[float] = []
    for step in range(1, steps + 1):
        loss = loss_at(step - 1)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise OverwinterError(f"Recovery diverged at step {step}. Lower {key}.learning_rate, or {key}.steps.")
        # Of these alone: the rest stays as it is. A layer that only training calls, as an auxiliary head, has none.
        for parameter, gradient in zip(moving, torch.autograd.grad(loss, moving, allow_unused=True), strict=True):
            parameter.grad = gradient
        for hook in hooks:
            hook.before_step(step, steps)
        optimizer.step()
        for hook in hooks:
            hook.after_step(step, steps)
        fall.step()
        progress(step, steps)
    for parameter in moving:
        parameter.grad = None
    return losses
