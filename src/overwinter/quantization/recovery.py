"""Recovery: after quantization, distil only scales and zero points end to end against the dense model.

Codes stay where the solver put them, so that a sparse model stays sparse and nothing is rounded anew; what each
group's codes mean is fitted to the dense model's answers, all layers together (as the second phase of EfficientQAT,
https://arxiv.org/abs/2407.11062, with the dense model's answers in the place of labels).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Codes, IntegerLayer, integer_layers, replace_layer

_ZERO_STEPS = 20.0  # a zero point moves by so many learning rates: it is a code, not a share


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How long and how fast to distil.

    Attributes:
        steps: of Adam; 0: no recovery.
        learning_rate: of scales, relative to each; it falls to 0 along a cosine.
        batch_size: calibration samples of a step.
        zeros: whether zero points move too; they stay whole numbers.
        seed: of the order of the samples.
    """

    steps: int
    learning_rate: float = 1e-3
    batch_size: int = 4
    zeros: bool = True
    seed: int = 0


def recover(
    model: nn.Module,
    dense: nn.Module,
    calibration: Sequence[torch.Tensor],
    recovery: Recovery,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[float]:
    """Fit scales and zero points of a module's integer layers in place; return the divergence at each step, in nats.

    Args:
        model: with integer layers; its other parameters stay as they are.
        dense: what it was made from; answers logits (..., classes).
        calibration: model inputs, one tensor (n, ...) for each shape of sample.
        recovery: how.
        progress: called with the steps done and their number.

    Raises:
        ConfigError: no calibration samples, or no integer layers.
        OverwinterError: the divergence became NaN or infinite; the model is as it was before.
    """
    layers = integer_layers(model)
    if not layers or not any(len(each) for each in calibration):
        raise ConfigError("Recovery needs integer layers and at least one calibration sample.")
    before = {name: layer.get_codes() for name, layer in layers.items()}
    movable = {name: _Movable(layer, zeros=recovery.zeros) for name, layer in layers.items()}
    for name, stand_in in movable.items():
        replace_layer(model, name, stand_in)
    try:
        losses = _fit(model, dense, _batches(calibration, recovery), list(movable.values()), recovery, progress)
    finally:
        for name, layer in layers.items():
            replace_layer(model, name, layer)
    if not all(math.isfinite(loss) for loss in losses):
        raise OverwinterError(
            f"Recovery diverged at step {len(losses)}. Lower quantize.recovery.learning_rate, or set its steps to 0."
        )
    for name, layer in layers.items():
        layer.set_codes(movable[name].moved(before[name]))
    return losses


class _Movable(nn.Module):
    """An integer layer whose scale and zero point have gradients."""

    codes: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None

    def __init__(self, layer: IntegerLayer, *, zeros: bool) -> None:
        super().__init__()
        self._layer = [layer]  # in a list, so that its own buffers are not this module's
        codes = layer.get_codes()
        self.register_buffer("codes", layer.grid.grouped(codes.codes), persistent=False)  # (out, groups, size)
        self.gain = nn.Parameter(torch.ones_like(codes.scale))
        self.shift = nn.Parameter(torch.zeros_like(codes.scale)) if zeros and codes.zero is not None else None
        self.register_buffer("scale", codes.scale, persistent=False)
        self.register_buffer("zero", None if codes.zero is None else codes.zero.float(), persistent=False)

    def moved(self, codes: Codes) -> Codes:
        """Return the codes with the scales and zero points that were found."""
        scale, origin = self._grid()
        zero = None if codes.zero is None else cast(torch.Tensor, origin).detach().round().to(torch.uint8)
        return Codes(codes=codes.codes, scale=scale.detach(), zero=zero)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        layer = self._layer[0]
        scale, origin = self._grid()
        kind = torch.bfloat16 if torch.is_autocast_enabled(inputs.device.type) else scale.dtype
        origin = origin[:, :, None].to(kind) if isinstance(origin, torch.Tensor) else origin
        values = (self.codes.to(kind) - origin) * scale[:, :, None].to(kind)  # exact but for the scale's rounding
        weight = values.flatten(1)[:, : layer.columns].reshape(layer.weight_shape)
        smoothed = layer.smoothed_input(inputs)
        rounded = smoothed + (layer.quantized_input(inputs) - smoothed).detach()  # straight-through
        return layer.apply_weight(rounded, weight.to(rounded.dtype))

    def _grid(self) -> tuple[torch.Tensor, torch.Tensor | int]:
        grid = self._layer[0].grid
        scale = self.scale * self.gain.clamp(min=0.1)
        if self.zero is None:
            return scale, grid.middle
        if self.shift is None:
            return scale, self.zero
        wanted = (self.zero + self.shift).clamp(0, grid.top)
        return scale, wanted + (wanted.round() - wanted).detach()  # straight-through


def _batches(calibration: Sequence[torch.Tensor], recovery: Recovery) -> list[torch.Tensor]:
    """Return one batch for each step: every sample once, in random order, then all over again."""
    randomness = torch.Generator().manual_seed(recovery.seed)
    drawn: list[torch.Tensor] = []
    while len(drawn) < recovery.steps:
        round_: list[torch.Tensor] = []
        for samples in calibration:
            order = torch.randperm(len(samples), generator=randomness)
            round_ += [samples[part] for part in torch.split(order, recovery.batch_size)]
        drawn += [round_[index] for index in torch.randperm(len(round_), generator=randomness).tolist()]
    return drawn[: recovery.steps]


def _fit(
    model: nn.Module,
    dense: nn.Module,
    batches: Sequence[torch.Tensor],
    layers: Sequence[_Movable],
    recovery: Recovery,
    progress: Callable[[int, int], None],
) -> list[float]:
    gains = [layer.gain for layer in layers]
    shifts = [layer.shift for layer in layers if layer.shift is not None]
    groups = [{"params": gains, "lr": recovery.learning_rate}]
    if shifts:
        groups.append({"params": shifts, "lr": recovery.learning_rate * _ZERO_STEPS})
    adam = torch.optim.Adam(groups, betas=(0.9, 0.95))
    fall = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / recovery.steps))
    losses: list[float] = []
    for step, batch in enumerate(batches):
        loss = _divergence(model, dense, batch)
        gradients = torch.autograd.grad(loss, [*gains, *shifts])  # of these alone: the rest stays as it is
        for parameter, gradient in zip([*gains, *shifts], gradients, strict=True):
            parameter.grad = gradient
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
        adam.step()
        fall.step()
        progress(step + 1, recovery.steps)
    return losses


def _divergence(model: nn.Module, dense: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of the model's answers (..., classes) from the dense one's."""
    with _quick(batch.device):
        with torch.no_grad():
            wanted = functional.log_softmax(dense(batch).float(), -1)
        found = functional.log_softmax(model(batch).float(), -1)
    return functional.kl_div(found.flatten(0, -2), wanted.flatten(0, -2), reduction="batchmean", log_target=True)


def _quick(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where the processor multiplies in it; elsewhere it would be emulated, and slow."""
    able = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16) if able else contextlib.nullcontext()
