"""Fake-quantizers: modules inside the model while it is trained, so that its state holds theirs too."""

from __future__ import annotations

import enum
import math
from typing import cast

import torch
from torch import nn

from overwinter.models import Grid
from overwinter.training.qat.rounding import lessened, relaxed, straight_through
from overwinter.training.qat.settings import QatConfig

_EMA_SHARE = 0.01


class Phase(enum.Enum):
    """What the fake-quantizers of a model do."""

    WATCHING = "watching"
    """The model computes in floating point; ranges of activations are observed."""
    QUANTIZING = "quantizing"
    """Weights and activations are fake-quantized; scales move."""
    FROZEN = "frozen"
    """Scales stand still, and rounding is to nearest, as it will be in the integer layers."""


class Quantizer(nn.Module):
    """Fake-quantizes a tensor that is seen as (rows, groups, size).

    Attributes:
        phase: set by the one who leads the training.
        noise_share: likewise: how much of the relaxation's noise there is still, 1 to 0.
        grid: of the codes.
        scale: (rows, groups), as observed.
        log_scale: (rows * groups,), the logarithm of the scale where it is learned instead; else None.
        zero: (rows, groups) float32, whole numbers; None on a symmetric grid.
    """

    scale: torch.Tensor
    zero: torch.Tensor | None

    def __init__(self, grid: Grid, settings: QatConfig, *, rows: int, groups: int, relaxed: bool) -> None:
        super().__init__()
        self.phase, self.noise_share = Phase.WATCHING, 1.0
        self.grid, self._shape = grid, (rows, groups)
        self.register_buffer("scale", torch.ones(rows, groups))
        self.register_buffer("zero", None if grid.symmetric else torch.zeros(rows, groups))
        # One dimension, so that it does not decay with the weights.
        learned = settings.scale == "learned"
        self.log_scale = nn.Parameter(torch.zeros(rows * groups)) if learned else None
        self._relaxation = settings.relaxation() if relaxed else None
        noise = None if self._relaxation is None else math.log(self._relaxation.noise)
        self.log_noise = None if noise is None else nn.Parameter(torch.tensor(noise))

    def current_scale(self) -> torch.Tensor:
        """Return the scale (rows, groups)."""
        if self.log_scale is None:
            return self.scale
        learned = self.log_scale.exp().reshape(self._shape)
        return learned.detach() if self.phase is Phase.FROZEN else learned

    def set_range(self, low: torch.Tensor, high: torch.Tensor) -> None:
        """Let the grid reach from ``low``, at most 0, to ``high``, at least 0; both (rows, groups)."""
        with torch.no_grad():
            scale, zero = self.grid.between(low.float(), high.float())
            self.scale.copy_(scale)
            if self.log_scale is not None:
                self.log_scale.copy_(scale.flatten().log())
            if self.zero is not None and zero is not None:
                self.zero.copy_(zero)

    def fake_quantize(self, grouped: torch.Tensor) -> torch.Tensor:
        """Return float32 values on the grid (nearly, while relaxed) for float32 values (rows, groups, size)."""
        scale = self.current_scale()[:, :, None]  # (rows, groups, 1)
        if self.log_scale is not None:
            # As many gradients add up in a scale as it has values (Esser et al., "Learned step size quantization").
            scale = lessened(scale, 1.0 / math.sqrt(grouped.numel() / scale.numel() * self.grid.top))
        origin = torch.full_like(scale, self.grid.middle) if self.zero is None else self.zero[:, :, None]
        return self._round(grouped / scale, -origin.detach(), self.grid.top - origin.detach()) * scale

    def _round(self, values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        how, log_noise = self._relaxation, self.log_noise
        if how is None or log_noise is None or not self.training or self.phase is not Phase.QUANTIZING:
            return straight_through(values, low, high)
        return relaxed(
            values,
            low,
            high,
            noise=lessened(log_noise, 1.0 / math.sqrt(values.numel())).exp() * self.noise_share,
            temperature=how.temperature,
            neighbours=how.neighbours,
            hard=how.rounding == "relaxed_straight_through",
        )


class WeightQuantizer(Quantizer):
    """A parametrization of a layer's weight (`torch.nn.utils.parametrize`)."""

    def __init__(self, weight: torch.Tensor, settings: QatConfig) -> None:
        grid = Grid(bits=settings.weight_bits, group_size=settings.group_size, symmetric=settings.symmetric)
        super().__init__(grid, settings, rows=len(weight), groups=grid.groups(weight[0].numel()), relaxed=True)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight, fake-quantized unless this only watches."""
        if self.phase is Phase.WATCHING:
            return weight
        if self.training and self.phase is Phase.QUANTIZING and self.log_scale is None:
            self.observe(weight)
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.float().flatten(1)  # (out, columns)
            values = self.fake_quantize(self.grid.grouped(matrix)).flatten(1)[:, : matrix.shape[1]]
        return values.reshape(weight.shape).to(weight.dtype)

    def observe(self, weight: torch.Tensor) -> None:
        """Let the grid reach over each group's values."""
        values = self.grid.grouped(weight.detach().float().flatten(1))  # (out, groups, size)
        self.set_range(values.amin(2).clamp(max=0), values.amax(2).clamp(min=0))


class InputQuantizer(Quantizer):
    """One unsigned grid with a zero point for all inputs of a layer.

    The range is an average over the batches' least and largest values: of all at first, then moving.
    """

    low: torch.Tensor
    high: torch.Tensor
    batches: torch.Tensor

    def __init__(self, bits: int, settings: QatConfig) -> None:
        relaxation = settings.relaxation()
        relaxed = relaxation is not None and relaxation.relax_activations
        super().__init__(Grid(bits=bits, symmetric=False), settings, rows=1, groups=1, relaxed=relaxed)
        self.register_buffer("low", torch.zeros(1, 1))
        self.register_buffer("high", torch.zeros(1, 1))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the inputs, any shape, fake-quantized unless this only watches."""
        if self.training and self.phase is not Phase.FROZEN:
            self._watch(inputs.detach())
        if self.phase is Phase.WATCHING:
            return inputs
        with torch.autocast(inputs.device.type, enabled=False):
            values = self.fake_quantize(inputs.float()[None, None])[0, 0]
        return values.to(inputs.dtype)

    def stand_before(self, layer: nn.Module) -> None:
        """Quantize all inputs of ``layer`` from now on."""
        self._handle = layer.register_forward_pre_hook(self._quantized, with_kwargs=True)

    def bypass(self) -> None:
        """Leave the inputs as they are from now on."""
        self._handle.remove()

    def adopt_range(self) -> None:
        """Let the grid reach over what was observed."""
        self.set_range(self.low, self.high)

    # A method, unlike a closure, goes over to the copy when a model is copied.
    def _quantized(
        self, _layer: nn.Module, args: tuple[torch.Tensor, ...], keywords: dict[str, torch.Tensor]
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        if args:
            return (self(args[0]), *args[1:]), keywords
        return args, keywords | {"input": self(keywords["input"])}

    def _watch(self, inputs: torch.Tensor) -> None:
        share = (1.0 / (self.batches + 1.0)).clamp(min=_EMA_SHARE)  # a tensor: no waiting for a GPU
        low, high = torch.aminmax(inputs)  # ()
        self.low.lerp_(low.float().clamp(max=0).reshape(1, 1), share)
        self.high.lerp_(high.float().clamp(min=0).reshape(1, 1), share)
        self.batches += 1
        if self.phase is Phase.QUANTIZING and self.log_scale is None:
            self.adopt_range()


def weight_quantizer(layer: nn.Module) -> WeightQuantizer:
    """Return the weight's fake-quantizer of a layer that has one."""
    parametrizations = cast("dict[str, list[WeightQuantizer]]", layer.parametrizations)
    return parametrizations["weight"][0]
