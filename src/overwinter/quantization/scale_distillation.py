"""Recovery: after quantization, distil only scales and zero points end to end against the dense model.

Codes stay where the solver put them, so that a sparse model stays sparse and nothing is rounded anew; what each
group's codes mean is fitted to the dense model's outputs, all layers together (as the second phase of EfficientQAT,
https://arxiv.org/abs/2407.11062, with the dense model's answers in the place of labels).

A step costs little more than its matrix products: the dense model answers a sample once (`calibration.teacher`), and
the two passes over all values that autograd would keep (the weights, the log-odds) have their derivatives written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.calibration.following import BETAS, AdamFit, draw_batches, follow
from overwinter.calibration.precision import is_quick
from overwinter.calibration.teacher import Draw, Teacher
from overwinter.errors import ConfigError
from overwinter.inputs import TensorInputs
from overwinter.models import Codes, IntegerEmbedding, IntegerLayer, integer_layers, replace_layer
from overwinter.progress import Progress, silent
from overwinter.tasks import Task

_KEY = "quantize.scale_distillation"
_ZERO_STEPS = 20.0  # a zero point moves by so many learning rates: it is a code, not a share


@dataclass(frozen=True, kw_only=True)
class ScaleDistillation(AdamFit):
    """How long and how fast to distil; 0 steps: not at all. The learning rate of a scale is relative to it.

    Attributes:
        zeros: whether zero points move too; they stay whole numbers.
    """

    learning_rate: float = 1e-3
    batch_size: int = 4
    zeros: bool = True


def distill_scales(
    model: nn.Module,
    dense: nn.Module,
    calibration: Sequence[TensorInputs],
    scale_distillation: ScaleDistillation,
    progress: Progress = silent,
    *,
    task: Task,
    device: str = CPU,
) -> list[float]:
    """Fit scales and zero points of a module's integer layers in place; return the task's divergence at each step.

    On a GPU its memory holds both models, all layers' codes and one batch.

    Args:
        model: on the CPU, with integer layers; its other parameters stay as they are.
        dense: what it was made from.
        calibration: batches of model inputs (n, ...), one for each shape of sample.
        scale_distillation: how.
        progress: called with the steps done and their number.
        task: what the outputs are, and how far they are from the dense model's.
        device: that computes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: no calibration samples, or no integer layers.
        OverwinterError: the divergence became NaN or infinite; the model is as it was before.
    """
    if not _distilled_layers(model):
        raise ConfigError("Scale distillation needs integer layers.")
    with offloaded(model, device), offloaded(dense, device):
        draws = draw_batches(calibration, scale_distillation)
        teacher = Teacher(dense, calibration, draws, task, device)
        return _distilled(model, teacher, task, draws, scale_distillation, progress)


def _distilled(
    model: nn.Module,
    teacher: Teacher,
    task: Task,
    draws: Sequence[Draw],
    scale_distillation: ScaleDistillation,
    progress: Progress,
) -> list[float]:
    layers = _distilled_layers(model)
    before = {name: layer.get_codes() for name, layer in layers.items()}
    movable = {name: _Movable(layer, zeros=scale_distillation.zeros) for name, layer in layers.items()}
    adam = torch.optim.Adam(_groups(list(movable.values()), scale_distillation.learning_rate), betas=BETAS)
    for name, stand_in in movable.items():
        replace_layer(model, name, stand_in)
    try:
        losses = follow(model, teacher, draws, adam, task=task, key=_KEY, progress=progress)
    finally:
        for name, layer in layers.items():
            replace_layer(model, name, layer)
    for name, layer in layers.items():
        layer.set_codes(movable[name].moved(before[name]))
    return losses


def _distilled_layers(model: nn.Module) -> dict[str, IntegerLayer]:
    """Return all but embeddings, and heads that share their codes: their 8 bits lose next to nothing."""
    found = integer_layers(model).items()
    return {name: each for name, each in found if not isinstance(each, IntegerEmbedding) and each.source is None}


class _Movable(nn.Module):
    """An integer layer whose scale and zero point have gradients."""

    levels: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None

    def __init__(self, layer: IntegerLayer, *, zeros: bool) -> None:
        super().__init__()
        self._layer = [layer]  # in a list, so that its own buffers are not this module's
        codes = layer.get_codes()
        self.gain = nn.Parameter(torch.ones_like(codes.scale))  # (out, groups), as scale, zero and shift
        self.shift = nn.Parameter(torch.zeros_like(codes.scale)) if zeros and codes.zero is not None else None
        self.register_buffer("scale", codes.scale, persistent=False)
        self.register_buffer("zero", None if codes.zero is None else codes.zero.float(), persistent=False)
        kind = torch.bfloat16 if is_quick(codes.scale.device) else codes.scale.dtype  # exact: they are small and whole
        origin = layer.grid.middle if self.zero is None else self.zero[:, :, None].to(kind)
        levels = layer.grid.grouped(codes.codes).to(kind) - origin
        self.register_buffer("levels", levels, persistent=False)  # (out, groups, size), code - zero point

    def moved(self, codes: Codes) -> Codes:
        """Return the codes with the scales and zero points that were found."""
        zero = codes.zero
        if zero is not None and self.shift is not None:
            zero = (zero + self._step(self.shift).detach()).to(torch.uint8)
        return Codes(codes=codes.codes, scale=self._scale().detach(), zero=zero)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        layer = self._layer[0]
        levels = self.levels
        if self.shift is not None:
            levels = levels - self._step(self.shift)[:, :, None].to(levels.dtype)
        values: torch.Tensor = _Scaled.apply(self._scale(), levels)  # type: ignore[no-untyped-call]
        # (out, groups, size) -> (out, columns) -> the weight's own shape
        weight = values.flatten(1)[:, : layer.columns].reshape(layer.weight_shape)
        rounded = smoothed = layer.smoothed_input(input)
        if layer.activations is not None:
            rounded = smoothed + (layer.quantized_input(input) - smoothed).detach()  # straight-through
        return layer.apply_weight(rounded, weight.to(rounded.dtype))

    def _scale(self) -> torch.Tensor:
        return self.scale * self.gain.clamp(min=0.1)

    def _step(self, shift: torch.Tensor) -> torch.Tensor:
        """How far zero points have moved: whole codes, within the grid; straight-through."""
        zero = cast(torch.Tensor, self.zero)
        wanted = (zero + shift).clamp(0, self._layer[0].grid.top) - zero
        return wanted + (wanted.round() - wanted).detach()


class _Scaled(torch.autograd.Function):
    """Levels (out, groups, size) times scales (out, groups); a scale's gradient is summed over its group at once."""

    @staticmethod
    def forward(ctx: Any, scale: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(scale, levels)
        return levels * scale[:, :, None].to(levels.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        (gradient,) = gradients
        scale, levels = ctx.saved_tensors
        of_levels = gradient * scale[:, :, None].to(gradient.dtype) if ctx.needs_input_grad[1] else None
        return (gradient * levels).sum(2).to(scale.dtype), of_levels  # (out, groups), (out, groups, size)


def _groups(layers: Sequence[_Movable], learning_rate: float) -> list[dict[str, Any]]:
    """Return what moves, with how fast: scales by shares of themselves, zero points by shares of a code."""
    gains = [layer.gain for layer in layers]
    shifts = [layer.shift for layer in layers if layer.shift is not None]
    groups: list[dict[str, Any]] = [{"params": gains, "lr": learning_rate}]
    return [*groups, {"params": shifts, "lr": learning_rate * _ZERO_STEPS}] if shifts else groups
